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
    from mair_cli.training.studies.ablation import Result, Variant

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
    device: Device = "auto",
    backend: Backend = "auto",
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Train variants of a recipe from the same seed for the same steps; compare PSNR, size, cost and time.

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

    from mair_cli.training.recipe import parse_value, read_settings
    from mair_cli.training.studies.ablation import make_variants, summarise, write_results

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
    _report(results)
    for path in write_results(output, results):
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


def _report(results: list[Result]) -> None:
    columns = ("variant", "PSNR dB", "SSIM", "loss", "parameters", "10⁹ multiply-adds", "seconds")
    rows = [
        [
            result.variant,
            f"{result.psnr:.3f}",
            f"{result.ssim:.4f}",
            f"{result.loss:.5f}",
            str(result.parameters),
            f"{result.multiply_adds:.1f}",
            f"{result.seconds:.0f}",
        ]
        for result in results
    ]
    console.table("", columns, rows)
