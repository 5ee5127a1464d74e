"""`mair train`: train a network from a recipe."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mair_cli.cli import console
from mair_cli.cli.options import Backend, Changes, Device, Quiet, TrainingImages, Verbose

if TYPE_CHECKING:
    import torch

    from mair_cli.training.recipe import Settings
    from mair_cli.training.reports import RunEnd


def train(
    config: Annotated[Path, typer.Argument(help="Recipe, a TOML file.", show_default=False)],
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run in the output folder stopped.")] = False,
    images: TrainingImages = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Run folder, instead of the recipe's.")] = None,
    changes: Changes = None,
    stop_after_seconds: Annotated[
        float | None, typer.Option("--stop-after-seconds", min=0, help="Save and end after this time.")
    ] = None,
    check_against: Annotated[
        list[Path] | None,
        typer.Option("--check-against", help="Don't train: look for images of this folder among the training images."),
    ] = None,
    device: Device = "auto",
    backend: Backend = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Open all that a run would open, say what would be done.")
    ] = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Train a network from a recipe, or go on with a run.

    All that a run writes lies in its folder: logs, a plot, its state for --resume, and the weights, which every other
    command takes with --weights. Ctrl-C saves. Under torchrun, several GPUs or machines train together.
    """
    share_cores()
    from mair_cli.training.recipe import read_settings

    console.configure(verbose=verbose, quiet=quiet)
    if not verbose and not quiet:
        logging.getLogger("mair_cli.training").setLevel(logging.INFO)
    settings = read_settings(config, recipe_overrides(images, output, changes))
    if check_against:
        return _check_against(settings, check_against)
    if dry_run:
        _describe(settings, device, backend, resume)
        return 0
    return _run(settings, device, backend, resume, stop_after_seconds)


def share_cores() -> None:
    """Let threads of PyTorch's operators sleep while they wait; to be called before PyTorch is imported.

    By default they spin, which on cores that anyone else uses too makes training several times slower.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def recipe_overrides(images: list[str] | None, output: Path | None, changes: list[str] | None) -> list[str]:
    """Options as `section.key=value`; what the user wrote with --set comes last and wins."""
    result = []
    if images:
        result.append(f"data.images=[{', '.join(_quoted(place) for place in images)}]")
    if output:
        result.append(f"output={_quoted(str(output))}")
    return result + (changes or [])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _describe(settings: Settings, device: str, backend: str, resume: bool) -> None:
    from mair_cli.training.loop import rehearse

    chosen = _choose_device(device)
    found = rehearse(settings, chosen, backend=backend, resume=resume)
    steps = f"steps {found.step + 1} to {settings.training.steps}" if found.step else f"{settings.training.steps} steps"
    console.note(f"{settings.name}: {found.parameters:,} parameters, {steps}, into {settings.folder}, on {chosen}")
    console.note(f"{found.training} images to train on, {found.validation} to measure on")


def _choose_device(name: str) -> torch.device:
    """The device of that name; of several processes, each takes a GPU of its own."""
    from mair_cli.runtime.device import choose_device
    from mair_cli.training.distributed import World

    world = World.from_environment()
    chosen = choose_device(name)
    if world.size > 1 and name in ("auto", "cuda") and chosen.type == "cuda":
        chosen = choose_device(f"cuda:{world.local_rank}")
    return chosen


def _run(settings: Settings, device: str, backend: str, resume: bool, stop_after_seconds: float | None) -> int:
    from mair_cli.cli.train_progress import ConsoleObserver
    from mair_cli.training.distributed import World
    from mair_cli.training.loop import train as run_training

    world, chosen = World.from_environment(), _choose_device(device)
    with console.progress(settings.name, settings.training.steps, "step") as bar:
        outcome = run_training(
            settings,
            chosen,
            backend=backend,
            resume=resume,
            stop_after_seconds=stop_after_seconds,
            observer=ConsoleObserver(settings, bar),
        )
    if world.leads:
        _report(settings, outcome)
    return 0 if outcome.signal is None else 128 + outcome.signal


def _report(settings: Settings, outcome: RunEnd) -> None:
    from mair_cli.training.curve import draw_curve

    drawn = draw_curve(settings.folder)
    steps = f"{outcome.step} of {settings.training.steps} steps"
    console.note(f"{'done' if outcome.finished else 'stopped'}: {steps}, all in {settings.folder}")
    if outcome.best is not None:
        console.note(f"best PSNR {outcome.best:.3f} dB at step {outcome.best_step}: {settings.name}-best.safetensors")
    if not drawn:
        console.note("no plot of the curve: matplotlib is missing (pip install 'mair-cli[train]')")
    if not outcome.finished:
        console.note("go on with --resume")


def _check_against(settings: Settings, folders: list[Path]) -> int:
    from mair_cli.training.images import find_images
    from mair_cli.training.studies.contamination import find_contamination

    training = find_images(settings.data.images + settings.data.pairs, settings.data.exclude)
    forbidden = find_images([str(folder) for folder in folders], settings.data.exclude)
    with console.progress("comparing", len(training) + len(forbidden), "image") as bar:
        matches = find_contamination(training, forbidden, on_image=bar.advance)
    rows = [[str(match.training), str(match.forbidden), f"{match.similarity:.3f}"] for match in matches]
    if rows:
        console.table("Found in both", ("trained on", "shows", "similarity"), rows)
        return 1
    console.note(f"none of {len(forbidden)} images is among the {len(training)} to train on")
    return 0
