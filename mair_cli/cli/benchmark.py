"""`mair benchmark`: PSNR and SSIM as published, several methods side by side, on benchmark sets or folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mair_cli.cli import completion, console
from mair_cli.cli.benchmark_methods import chosen_methods
from mair_cli.cli.benchmark_results import Targets, show, write
from mair_cli.cli.option_sets import with_run_options
from mair_cli.cli.options import NETWORK, OUTPUT, SPEED, Offline, Quiet, Verbose
from mair_cli.cli.values import check_choice, go_offline
from mair_cli.errors import UsageError
from mair_cli.restore.settings import RunSettings, parse_setting
from mair_cli.tasks import TASKS

if TYPE_CHECKING:
    from mair_cli.benchmark.runs import Benchmark
    from mair_cli.benchmark.state import Row
    from mair_cli.datasets.benchmark_sets import LocatedSet
    from mair_cli.datasets.pairs import Listing
    from mair_cli.measure.protocol import MeasureProtocol

SETS = "Images"
PARTITION: Final = "partition"
_MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Plan:
    """What to run."""

    protocol: MeasureProtocol
    methods: Sequence[tuple[str, RunSettings]]
    settings: RunSettings
    fresh: bool
    measures: Sequence[str] = ()


# Long, but a list of options throughout: each is one parameter with its help.
@with_run_options(without=("model", "weights", "tile"))
def benchmark(
    settings: dict[str, Any],
    dataset: Annotated[
        str,
        typer.Option(
            "--dataset",
            "-d",
            metavar="NAME|FOLDER",
            rich_help_panel=SETS,
            help="Set5, Set14, BSD100, Urban100, Manga109, DIV2K-val, CBSD68, Kodak24, McMaster, or a folder.",
            show_default=False,
        ),
    ],
    task: Annotated[
        str,
        typer.Option(
            "--task",
            autocompletion=completion.one_of(*TASKS),
            metavar="|".join(TASKS),
            rich_help_panel=SETS,
            help="What for.",
        ),
    ] = "sr",
    scale: Annotated[
        int | None, typer.Option("--scale", "-s", metavar="2|3|4|8", rich_help_panel=SETS, help="For sr. Default: 4.")
    ] = None,
    sigma: Annotated[
        float | None,
        typer.Option(
            "--sigma",
            metavar="S",
            rich_help_panel=SETS,
            help="Noise added to inputs, of 255. Default: 25 for denoise, else none.",
        ),
    ] = None,
    jpeg: Annotated[
        int | None,
        typer.Option(
            "--jpeg",
            metavar="1-100",
            rich_help_panel=SETS,
            help="JPEG quality that inputs are compressed with. Default: 40 for dejpeg, else none.",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            rich_help_panel=OUTPUT,
            help="Also measure lpips, dists, niqe, musiq … by pyiqa, which fetches its weights itself. Repeatable.",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            metavar="DIR",
            rich_help_panel=SETS,
            help="Folder with a subfolder per set (MAIR_DATA_DIR does the same); sets not there are fetched.",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, rich_help_panel=SETS, help="First N images only.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            autocompletion=completion.methods,
            metavar="NAME",
            rich_help_panel=NETWORK,
            help="A model, auto, or a baseline: bicubic, nearest; none, nl-means. Repeatable. "
            "Default: auto beside bicubic or none.",
        ),
    ] = None,
    weights: Annotated[
        list[Path] | None,
        typer.Option("--weights", "-w", metavar="FILE", rich_help_panel=NETWORK, help="A checkpoint file. Repeatable."),
    ] = None,
    scene: Annotated[
        str | None,
        typer.Option("--scene", metavar="indoor|outdoor|mixed", rich_help_panel=NETWORK, help="For dehaze."),
    ] = None,
    offline: Offline = False,
    tile: Annotated[
        str | None,
        typer.Option(
            "--tile",
            metavar="partition|auto|N|0",
            rich_help_panel=SPEED,
            help="partition: cut up as in published tests; else the tool's own blended tiles of N input pixels. "
            "Default as published: 0 for real-denoise, deblur, dehaze, else partition.",
            show_default=False,
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", rich_help_panel=SPEED, help="Do not go on from an interrupted run.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", rich_help_panel=OUTPUT, help="Everything, as JSON.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", rich_help_panel=OUTPUT, help="A line per image and method.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", rich_help_panel=OUTPUT, help="One page with sliders, tables and plots."),
    ] = None,
    html_images: Annotated[
        int | None,
        typer.Option(
            "--html-images",
            metavar="N",
            min=0,
            rich_help_panel=OUTPUT,
            help="Sliders for the N images in which methods differ most; 0 for all. Default: 40.",
        ),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", rich_help_panel=OUTPUT, help="Tables as Markdown.")
    ] = None,
    latex: Annotated[
        Path | None,
        typer.Option("--latex", metavar="FILE", rich_help_panel=OUTPUT, help="Tables as LaTeX, with booktabs."),
    ] = None,
    dnd_bundle: Annotated[
        Path | None,
        typer.Option(
            "--dnd-bundle",
            metavar="DIR",
            rich_help_panel=OUTPUT,
            help="Instead of measuring: restore DND and write the files that its server takes.",
        ),
    ] = None,
    save_images: Annotated[
        Path | None,
        typer.Option("--save-images", metavar="DIR", rich_help_panel=OUTPUT, help="Restored images, by method."),
    ] = None,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Measure models and baselines with the protocol of the field's papers, beside published figures.

    An interrupted run goes on where it stopped when the same command is given again.
    """
    from mair_cli.measure.protocol import MeasureProtocol

    console.configure(verbose=verbose, quiet=quiet)
    go_offline(offline)
    kind = TASKS[check_choice("--task", task, tuple(TASKS))]
    protocol = MeasureProtocol(
        kind.name,
        scale=scale if scale is not None else (4 if kind.enlarges else 1),
        sigma=sigma if sigma is not None else (25.0 if kind.inputs == "noisy" else None),
        quality=jpeg if jpeg is not None else (40 if kind.inputs == "compressed" else None),
    )
    if html_images is not None and html is None:
        raise UsageError("`html_images` is about the page that `html` FILE writes: name one.")
    tile = tile or ("0" if kind.measured_whole else PARTITION)
    partition = tile == PARTITION
    stripe = settings.pop("stripe")
    run = RunSettings.of(
        {
            **settings,
            "task": kind.name,
            "scene": scene,
            "tile": "auto" if partition else parse_setting("tile", tile),
            "partition": partition,
        }
    )
    plan = Plan(
        protocol, chosen_methods(model or [], weights or [], kind.baseline, run, stripe), run, fresh, metric or ()
    )
    if dnd_bundle is not None:
        return _bundle(dataset, data_dir, plan, dnd_bundle)
    targets = Targets(json, csv, html, markdown, latex, save_images, 40 if html_images is None else html_images)
    targets.check(weights or [])
    return _run(dataset, data_dir, limit, plan, targets)


def _bundle(dataset: str, data_dir: Path | None, plan: Plan, output: Path) -> int:
    from mair_cli.cli.benchmark_bundle import write_dnd_bundle
    from mair_cli.datasets.benchmark_sets import locate_set

    task = plan.protocol.task
    located = locate_set(dataset, task=task, scale=plan.protocol.scale, data_dir=data_dir)
    return write_dnd_bundle(located.folder, output, task, plan.methods)


def _run(dataset: str, data_dir: Path | None, limit: int | None, plan: Plan, targets: Targets) -> int:
    from mair_cli.benchmark.environment import describe_environment
    from mair_cli.benchmark.published import published_figures, published_images
    from mair_cli.benchmark.report import BenchmarkReport
    from mair_cli.datasets.benchmark_sets import locate_set
    from mair_cli.datasets.pairs import find_samples

    protocol = plan.protocol
    with console.progress(f"fetching {dataset}", unit="file") as bar:
        located = locate_set(
            dataset,
            task=protocol.task,
            scale=protocol.scale,
            data_dir=data_dir,
            progress=bar.reach,
        )
    listing = find_samples(located.folder, protocol.task, protocol.scale)
    if limit is not None:
        listing.samples = listing.samples[:limit]
    images = [sample.name for sample in listing.samples]
    targets.check(_inputs(listing, plan), _possible_names(plan), images)
    _tell_listing(located, listing, protocol)
    run = _start(located, listing, plan, targets)
    _measure(run, plan, len(listing.samples))
    report = BenchmarkReport(
        dataset=located.name,
        outcome=run.outcome,
        settings=_settings_for_people(located, plan),
        environment=describe_environment(),
        published=published_figures(located.name, protocol),
        full_set=located.known.images if located.known else published_images(located.name),
        verified=_verified(located, listing),
        problems=listing.problems,
        notes=listing.notes,
        ensemble=plan.settings.ensemble,
    )
    show(report)
    write(report, targets)
    run.finish()
    return int(any(row.measurement is None for row in run.outcome.rows))


def _inputs(listing: Listing, plan: Plan) -> list[Path]:
    """Files that the run reads."""
    files = [path for sample in listing.samples for path in (sample.truth, sample.degraded)]
    return [Path(path) for path in (*files, *(run.weights for _, run in plan.methods)) if path is not None]


def _possible_names(plan: Plan) -> set[str]:
    """What methods may be called; "auto" stands for any model."""
    from mair_cli.weights.catalog import MODELS

    labels = {label for label, _ in plan.methods}
    return labels | set(MODELS) if "auto" in labels else labels


def _tell_listing(located: LocatedSet, listing: Listing, protocol: MeasureProtocol) -> None:
    for problem in listing.problems[:_MOST_PROBLEMS]:
        console.warn(problem)
    if len(listing.problems) > _MOST_PROBLEMS:
        console.warn(f"and {len(listing.problems) - _MOST_PROBLEMS} more files left out")
    for remark in listing.notes:
        console.note(remark)
    count, full = len(listing.samples), located.known.images if located.known else None
    of = f" of {full}" if full and full != count else ""
    console.note(f"{located.name}: {count}{of} images in {located.folder}, {protocol.title}")


def _start(located: LocatedSet, listing: Listing, plan: Plan, targets: Targets) -> Benchmark:
    from mair_cli.benchmark.runs import Benchmark
    from mair_cli.measure.perceptual import open_measures
    from mair_cli.runtime.device import choose_device
    from mair_cli.store.paths import cache_dir
    from mair_cli.version import __version__

    settings = {"version": __version__, "dataset": located.name}
    return Benchmark(
        plan.protocol,
        listing.samples,
        state_root=cache_dir() / "benchmark-runs",
        settings=settings,
        keep_outputs=targets.html is not None or targets.images is not None,
        measures=open_measures(plan.measures, choose_device(plan.settings.device)),
    )


def _measure(run: Benchmark, plan: Plan, images: int) -> None:
    from mair_cli.benchmark.methods import build_method

    resumed = 0
    with console.progress("measuring", images * len(plan.methods), unit="img") as bar:

        def on_row(row: Row, earlier: bool) -> None:
            nonlocal resumed
            resumed += earlier
            bar.advance()
            if row.error:
                console.warn(f"{row.image}, {row.method}: {row.error}")

        run.on_row = on_row
        try:
            for name, settings in plan.methods:
                bar.describe(name)
                method = build_method(name, plan.protocol, settings)
                if method.info.kind == "model":
                    console.note(f"{method.info.name}: {method.info.description}")
                run.run(method, plan.fresh)
        except KeyboardInterrupt:
            kept = sum(1 for row in run.outcome.rows if row.measurement is not None)
            console.note(f"{kept} results are kept: the same command goes on from there (--fresh starts anew)")
            raise
    if resumed:
        console.note(f"{resumed} results come from an interrupted run (--fresh starts anew)")


def _settings_for_people(located: LocatedSet, plan: Plan) -> dict[str, str]:
    options, protocol = plan.settings, plan.protocol
    return {
        "images": f"{located.name} ({located.origin})",
        "task": protocol.title,
        "inputs": _inputs_for_people(protocol),
        "cropped": f"{protocol.crop} pixels at every edge" if protocol.crop else "nothing",
        "cut up": _cut_up(options),
        "self-ensemble": "8 flips and turns" if options.ensemble else "no",
        "device, back end": f"{options.device}, {options.backend}",
        "precision": options.precision,
        "seconds": "restoring alone, after a warm-up on a small image; reading and measuring not included",
        "MP/s": "megapixels of output per second",
        "peak memory": "on a GPU what tensors took; on the CPU the whole process, Python and PyTorch included",
    }


def _cut_up(options: RunSettings) -> str:
    if options.partition:
        return "published partition"
    return f"tiles, --tile {options.tile}" if options.tile else "not at all, whole images"


def _inputs_for_people(protocol: MeasureProtocol) -> str:
    made = str(protocol.degradation)
    return "as they are" if made == "clean" else f"{made} (JPEG by libjpeg, 4:2:0)" if protocol.quality else made


def _verified(located: LocatedSet, listing: Listing) -> tuple[int, int]:
    from mair_cli.datasets.benchmark_sets import verify

    paths = [path for sample in listing.samples for path in (sample.truth, sample.degraded) if path is not None]
    equal, compared, different = verify(located, paths)
    for path in different[:_MOST_PROBLEMS]:
        console.warn(f"{path.name} is not the file of the published {located.name}")
    return equal, compared
