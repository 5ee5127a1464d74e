"""`mair export`: a network as a file for other programs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from mair_cli.cli import completion, console
from mair_cli.cli.options import Quiet, Stripe, Verbose
from mair_cli.errors import UsageError


def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE",
            help="A model that is on this machine, or a checkpoint file.",
            autocompletion=completion.models,
        ),
    ],
    onnx: Annotated[Path | None, typer.Option("--onnx", metavar="FILE", help="ONNX file to write.")] = None,
    card: Annotated[
        Path | None,
        typer.Option("--card", metavar="FILE", help="Model card to write (README.md of a Hugging Face repository)."),
    ] = None,
    size: Annotated[
        str, typer.Option("--size", metavar="WxH", help="Size of its inputs in pixels; a file is for one size.")
    ] = "64x64",
    stripe: Stripe = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Write a network as an ONNX file, for runtimes other than PyTorch, and compare both on a random image.

    Larger pictures are run in tiles of that size; any number of them may go through at once.

    With --card also, or only, a model card: it tells what the checkpoint file knows of itself and marks the rest TODO.
    """
    console.configure(verbose=verbose, quiet=quiet)
    width, height = _parse_size(size)
    for path in (onnx, card):
        if path is not None and path.exists() and not overwrite:
            raise UsageError(f"{path} exists: --overwrite replaces it.")
    if onnx is None and card is None:
        raise UsageError("Say what to write: --onnx FILE, --card FILE, or both.")
    if onnx is not None:
        _write_onnx(model, onnx, width, height, stripe)
    if card is not None:
        _write_card(model, card, stripe)
    return 0


def _write_card(model: str, card: Path, stripe: int | None) -> None:
    from mair_cli.restore.loading import file_of, names_a_file
    from mair_cli.weights.card import model_card, write_card
    from mair_cli.weights.catalog import find
    from mair_cli.weights.checkpoint import load_checkpoint

    path = Path(model) if names_a_file(model) else file_of(find(model))
    write_card(card, model_card(load_checkpoint(path, stripe=stripe), path.name))
    console.note(f"{card}: fill in what is marked TODO")


def _write_onnx(model: str, onnx: Path, width: int, height: int, stripe: int | None) -> None:
    from mair_cli.restore.loading import load_network
    from mair_cli.weights.onnx_file import check_packages, largest_difference, write_onnx

    check_packages()
    network = load_network(model, stripe=stripe)
    write_onnx(network, onnx, height, width)
    megabytes = onnx.stat().st_size / 1e6
    told = "".join(f", {level} (B,)" for level in network.levels)
    console.note(f"{onnx}: {megabytes:.1f} MB, takes image (B, 3, {height}, {width}){told}, gives restored")
    difference = largest_difference(network, onnx, height, width)
    if difference is None:
        console.note("not compared with PyTorch: onnxruntime is missing")
    else:
        console.note(f"largest difference from PyTorch on a random image: {difference:.1e} of 1")


def _parse_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})[xX×](\d{1,5})", text.strip())
    if match is None:
        raise UsageError(f"--size {text}: give width and height in pixels, such as 64x64.")
    return int(match[1]), int(match[2])
