"""Options shared by several commands, as `Annotated` aliases, and the set that every restoring command takes.

Help texts stand here once. Choices are plain strings, checked where they are used: errors are then worded alike.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Literal, get_type_hints

import typer

from mair_cli.errors import UsageError

OUTPUT = "Output"
NETWORK = "Network"
SPEED = "Speed and memory"
REPORT = "Reporting"


def _show_version(wanted: bool) -> None:
    if wanted:
        from mair_cli.cli import console
        from mair_cli.version import __version__

        console.out(f"mair {__version__}")
        raise typer.Exit


def group_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Options of `mair` itself."""


Inputs = Annotated[
    list[str],
    typer.Argument(metavar="INPUT", help="Files, folders, globs such as 'shots/*.jpg', or - for standard input."),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        rich_help_panel=OUTPUT,
        help="File for one input, folder for several, - for standard output. "
        "Default: beside the input, with what was done in its name.",
    ),
]
Recursive = Annotated[
    bool, typer.Option("--recursive", "-r", rich_help_panel=OUTPUT, help="Descend into folders; the tree is mirrored.")
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        rich_help_panel=OUTPUT,
        help="png, jpg, webp, tiff, avif … Default: PNG for lossless inputs, the input's own format otherwise.",
    ),
]
Quality = Annotated[
    int | None,
    typer.Option(
        "--quality", metavar="1-100", min=1, max=100, rich_help_panel=OUTPUT, help="Quality of lossy formats."
    ),
]
Alpha = Annotated[
    str,
    typer.Option(
        "--alpha",
        metavar="model|resize|drop",
        rich_help_panel=OUTPUT,
        help="Transparency: restored by the network, enlarged by bicubic, or left out.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", rich_help_panel=OUTPUT, help="Replace outputs that exist.")]
SkipExisting = Annotated[
    bool, typer.Option("--skip-existing", rich_help_panel=OUTPUT, help="Leave out inputs whose output exists.")
]
Compare = Annotated[
    bool,
    typer.Option(
        "--compare",
        rich_help_panel=OUTPUT,
        help="Also write a picture of input and result side by side, with a detail.",
    ),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        "--max-pixels",
        metavar="N",
        min=1,
        rich_help_panel=OUTPUT,
        help="Refuse images whose output would have more pixels than this.",
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        rich_help_panel=NETWORK,
        help="A name that `mair download --list` shows. "
        "Default: published weights if downloaded, else those that ship with the package.",
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        "-w",
        metavar="FILE",
        rich_help_panel=NETWORK,
        help="A checkpoint file (.pth, .ckpt, .safetensors).",
    ),
]
Stripe = Annotated[
    int | None,
    typer.Option(
        "--stripe",
        metavar="4|8",
        min=1,
        rich_help_panel=NETWORK,
        help="Width of the scan's stripes, for a --weights file that does not tell.",
    ),
]
Ensemble = Annotated[
    bool,
    typer.Option(
        "--ensemble", rich_help_panel=NETWORK, help="Mean over 8 flips and turns: a little better, 8 times slower."
    ),
]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline", rich_help_panel=NETWORK, help="Open no network connection (MAIR_OFFLINE=1 does the same)."
    ),
]
Tile = Annotated[
    str,
    typer.Option(
        "--tile",
        metavar="auto|N|0",
        rich_help_panel=SPEED,
        help="Tile side in input pixels; 0 takes the image as a whole.",
    ),
]
Overlap = Annotated[
    int | None,
    typer.Option(
        "--overlap", metavar="N", min=0, rich_help_panel=SPEED, help="Input pixels that neighbouring tiles share."
    ),
]
Device = Annotated[
    str, typer.Option("--device", metavar="auto|cpu|cuda[:N]|mps", rich_help_panel=SPEED, help="Where to compute.")
]
Backend = Annotated[
    str,
    typer.Option(
        "--backend",
        metavar="auto|mamba-ssm|triton|numba|reference",
        rich_help_panel=SPEED,
        help="What computes the selective scan; `mair doctor` shows which work here.",
    ),
]
Precision = Annotated[
    str,
    typer.Option("--precision", metavar="fp32|bf16|fp16", rich_help_panel=SPEED, help="Number format of the network."),
]
GroundTruth = Annotated[
    Path | None,
    typer.Option(
        "--gt",
        metavar="PATH",
        rich_help_panel=REPORT,
        help="Ground truth, a file or a folder of equal names: PSNR and SSIM per image and their mean.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", rich_help_panel=REPORT, help="Show what would be written, and write nothing.")
]
Json = Annotated[
    bool,
    typer.Option("--json", rich_help_panel=REPORT, help="One JSON object per image on stdout, nothing else there."),
]
Verbose = Annotated[
    int, typer.Option("--verbose", "-v", count=True, metavar="", rich_help_panel=REPORT, help="Say more; -vv says all.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", rich_help_panel=REPORT, help="Say nothing but errors.")]


@dataclass(frozen=True, kw_only=True)
class RestoreOptions:
    """What every restoring command takes; one field per option, under the option's name."""

    inputs: Inputs
    output: Output = None
    recursive: Recursive = False
    format: Format = None
    quality: Quality = None
    alpha: Alpha = "model"
    overwrite: Overwrite = False
    skip_existing: SkipExisting = False
    compare: Compare = False
    max_pixels: MaxPixels = None
    model: Model = "auto"
    weights: Weights = None
    stripe: Stripe = None
    ensemble: Ensemble = False
    offline: Offline = False
    tile: Tile = "auto"
    overlap: Overlap = None
    device: Device = "auto"
    backend: Backend = "auto"
    precision: Precision = "fp32"
    gt: GroundTruth = None
    dry_run: DryRun = False
    json: Json = False
    verbose: Verbose = 0
    quiet: Quiet = False


def with_restore_options(function: Callable[..., int]) -> Callable[..., int]:
    """Replaces the parameter `options: RestoreOptions` of a command by one parameter per field, for Typer to read.

    The command's own parameters come first in its help page; it is called with the fields put together again.
    """
    hints = get_type_hints(RestoreOptions, include_extras=True)
    shared = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(RestoreOptions)
    ]
    own_hints = get_type_hints(function, include_extras=True)
    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=own_hints[name])
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "options"
    ]

    def command(**values: object) -> int:
        options = RestoreOptions(**{parameter.name: values.pop(parameter.name) for parameter in shared})  # type: ignore[arg-type]
        return function(options, **values)

    parameters = [shared[0], *own, *shared[1:]]
    command.__name__, command.__doc__, command.__module__ = function.__name__, function.__doc__, function.__module__
    command.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def parse_tile(value: str) -> int | Literal["auto"]:
    """`auto`, or the side of a tile in input pixels; 0 stands for the whole image.

    Raises:
        UsageError: neither a number nor `auto`.
    """
    if value == "auto":
        return "auto"
    if value.isascii() and value.isdigit():
        return int(value)
    raise UsageError(f"--tile {value}: give auto, a number of pixels, or 0 for the whole image.")


def check_choice(flag: str, value: str, choices: tuple[str, ...]) -> str:
    """The value, if it is among the choices.

    Raises:
        UsageError: it is not; names the flag and the choices.
    """
    if value not in choices:
        raise UsageError(f"{flag} {value}: choose {', '.join(choices[:-1])} or {choices[-1]}.")
    return value


def check_exclusive(**given: bool) -> None:
    """Refuse options that contradict each other.

    Args:
        given: for each option, under its name with underscores, whether it was given.

    Raises:
        UsageError: more than one was given.
    """
    flags = [f"--{name.replace('_', '-')}" for name, present in given.items() if present]
    if len(flags) > 1:
        raise UsageError(f"{' and '.join(flags)} exclude each other: give only one.")


def go_offline(wanted: bool) -> None:
    """Forbid network connections in this process when `--offline` was given."""
    if wanted:
        os.environ["MAIR_OFFLINE"] = "1"
