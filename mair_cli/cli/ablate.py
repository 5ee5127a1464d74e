"""`mair ablate`: train variants of a recipe for the same budget and compare them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mair_cli.cli import console
from mair_cli.cli.options import Backend, Changes, Device, Quiet, TrainingImages, Verbose
from mair_cli.cli.train import recipe_overrides, share_cores
from mair_cli.errors import UsageError

if TYPE_CHECKING:
    from mair_cli.benchmark.report_files import ReportKind
    from mair_cli.training.studies.ablation import Result, Variant
    from mair_cli.training.studies.statistics import Statistics

# Varied when the user names nothing: what the article's first ablation compares.
DEFAULT_AXES = ("network.scan_pattern=nested,raster,continuous,window", "network.aggregation=shuffle,sum")


def ablate(
    config: Annotated[
        Path | None, typer.Argument(help="Recipe, a TOML file: the run that is varied.", show_default=False)
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option("--vary", help=f"Setting and its values; repeatable. Default: {' and '.join(DEFAULT_AXES)}."),
    ] = None,
    one_at_a_time: Annotated[
        bool, typer.Option("--one-at-a-time", help="Vary one setting at a time, not all combinations.")
    ] = False,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for runs and results.")] = Path(
        "runs/ablation"
    ),
    images: TrainingImages = None,
    changes: Changes = None,
    draw_orders: Annotated[
        Path | None, typer.Option("--draw-orders", help="Draw the scan orders into this folder; needs no recipe.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write the tables as Markdown.")
    ] = None,
    latex: Annotated[
        Path | None, typer.Option("--latex", metavar="FILE", help="Write the tables as LaTeX, with booktabs.")
    ] = None,
    device: Device = "auto",
    backend: Backend = "auto",
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Train variants of a recipe from the same seed for the same steps; compare PSNR, size, cost and time.

    Several seeds (--vary training.seed=0,1,2) give means, standard deviations, and differences seed by seed.
    Started again after an interruption it goes on where it was: finished variants are not trained anew.
    """
    share_cores()
    console.configure(verbose=verbose, quiet=quiet)
    if draw_orders is not None:
        from mair_cli.training.studies.order_pictures import draw_orders as draw

        console.note(f"{len(draw(draw_orders))} pictures of scan orders in {draw_orders}")
        if config is None:
            return 0
    if config is None:
        raise UsageError("mair ablate needs a recipe, or --draw-orders FOLDER")

    from mair_cli.benchmark.report_files import check_report_file
    from mair_cli.training.recipe import parse_value, read_settings
    from mair_cli.training.studies.ablation import make_variants, summarise, write_results
    from mair_cli.training.studies.statistics import statistics_of, write_statistics

    for path, kind in _reports(markdown, latex):
        check_report_file(path, kind, [config])
    base = read_settings(config, recipe_overrides(images, None, changes))
    axes: dict[str, list[object]] = {}
    for text in vary or DEFAULT_AXES:
        key, equals, values = text.partition("=")
        if not equals or not values:
            raise UsageError(f"--vary {text!r}: write it as section.key=value,value")
        axes[key.strip()] = [parse_value(value) for value in values.split(",")]
    variants = make_variants(base, axes, output, one_at_a_time)
    results: list[Result] = []
    for number, variant in enumerate(variants, 1):
        signal = _train(variant, f"{number}/{len(variants)}", device, backend)
        if signal is not None:
            console.note("interrupted: the same command goes on")
            return 128 + signal
        results.append(summarise(variant))
    found = statistics_of(results)
    written = [*write_results(output, results), write_statistics(output, found)]
    _report(results, found, markdown, latex)
    for path in (*written, *filter(None, (markdown, latex))):
        console.note(f"wrote {path}")
    return 0


def _train(variant: Variant, place: str, device: str, backend: str) -> int | None:
    """Train one variant to its end, or find it finished; returns the signal that interrupted it."""
    from mair_cli.cli.train_progress import ConsoleObserver
    from mair_cli.runtime.device import choose_device
    from mair_cli.training.loop import train

    console.note(f"{place}: {variant.name}")
    with console.progress(variant.name, variant.settings.training.steps, "step") as bar:
        observer = ConsoleObserver(variant.settings, bar)
        outcome = train(variant.settings, choose_device(device), backend=backend, resume=True, observer=observer)
    return outcome.signal


def _reports(markdown: Path | None, latex: Path | None) -> list[tuple[Path, ReportKind]]:
    kinds: list[tuple[Path | None, ReportKind]] = [(markdown, "markdown"), (latex, "latex")]
    return [(path, kind) for path, kind in kinds if path is not None]


def _report(results: list[Result], found: list[Statistics], markdown: Path | None, latex: Path | None) -> None:
    """Show a row per run, and with several seeds one per variant; write both tables where they are asked for."""
    from mair_cli.benchmark.report_files import write_report
    from mair_cli.benchmark.report_tables import Table, tables_as_latex, tables_as_markdown
    from mair_cli.training.studies import result_tables

    tables = [Table("each run", result_tables.RUN_COLUMNS, result_tables.run_rows(results))]
    if len(found) < len(results):
        rows = result_tables.statistics_rows(found)
        tables.append(Table(f"over seeds; compared with {found[0].variant}", result_tables.STATISTICS_COLUMNS, rows))
    for table in tables:
        console.table(table.title if len(tables) > 1 else "", table.columns, table.rows)
    for path, kind in _reports(markdown, latex):
        write_report(path, tables_as_markdown(tables) if kind == "markdown" else tables_as_latex(tables))
