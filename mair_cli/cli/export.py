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
    onnx: Annotated[Path, typer.Option("--onnx", metavar="FILE", help="ONNX file to write.", show_default=False)],
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
    """
    console.configure(verbose=verbose, quiet=quiet)
    width, height = _parse_size(size)
    if onnx.exists() and not overwrite:
        raise UsageError(f"{onnx} exists: --overwrite replaces it.")
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
    return 0


def _parse_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})[xX×](\d{1,5})", text.strip())
    if match is None:
        raise UsageError(f"--size {text}: give width and height in pixels, such as 64x64.")
    return int(match[1]), int(match[2])
