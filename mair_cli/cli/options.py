"""Options shared by several commands, as `Annotated` aliases; `option_sets` puts them together.

Help texts stand here once. Choices are plain strings, checked where they are used: errors are then worded alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from typer.models import OptionInfo

from mair_cli.cli import completion
from mair_cli.restore.settings import ALPHA_CHOICES, SMALLEST_TILE
from mair_cli.runtime.precision_names import CHOICES
from mair_cli.scan.registry import BACKENDS
from mair_cli.tasks import SCENES

OUTPUT = "Output"
NETWORK = "Network"
SPEED = "Speed and memory"
REPORT = "Reporting"
CLUSTER = "Many machines"


def _show_version(wanted: bool) -> None:
    if wanted:
        from mair_cli.cli import console
        from mair_cli.version import __version__

        console.out(f"mair {__version__}")
        raise typer.Exit


def group_options(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_show_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Options of `mair` itself."""


Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT",
        help="Files, folders, globs such as 'shots/*.jpg', addresses (s3://bucket/folder), or - for standard input.",
    ),
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
        "--quality",
        metavar="1-100",
        min=1,
        max=100,
        rich_help_panel=OUTPUT,
        help="Quality of lossy formats. Default: JPEG 95, AVIF 90; WebP 95, or lossless like its input; "
        "JPEG 2000 lossless.",
    ),
]
Alpha = Annotated[
    str,
    typer.Option(
        "--alpha",
        autocompletion=completion.one_of(*ALPHA_CHOICES),
        metavar="|".join(ALPHA_CHOICES),
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
AllowTruncated = Annotated[
    bool,
    typer.Option(
        "--allow-truncated",
        rich_help_panel=OUTPUT,
        help="Exit with 0 although files end too early; what can be read of them is restored either way.",
    ),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        "--max-pixels",
        metavar="N",
        min=1,
        rich_help_panel=OUTPUT,
        help="Refuse images whose output would have more pixels than this. Default: 1000000000.",
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        autocompletion=completion.models,
        metavar="NAME",
        rich_help_panel=NETWORK,
        help="A name that `mair download --list` shows. "
        "Default: published weights if downloaded, else those that ship with the package.",
    ),
]
Weights = Annotated[
    str | None,
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


ScaleValue = Annotated[
    str | None,
    typer.Option(
        "--scale",
        "-s",
        autocompletion=completion.one_of("2", "3", "4"),
        metavar="NUMBER",
        help="How much larger: 2, 3, 4 or any other number up to 16, such as 1.5. Default: 4, or what the model does.",
    ),
]
SizeValue = Annotated[
    str | None,
    typer.Option(
        "--size",
        metavar="WxH|W|xH|N%",
        help="The result's size instead: in pixels (1920x, x1080; 1920x1080 to fit into), or a share (150%).",
    ),
]
Tile = Annotated[
    str,
    typer.Option(
        "--tile",
        metavar="auto|N|0",
        rich_help_panel=SPEED,
        help=f"Tile side in input pixels, {SMALLEST_TILE} or more; 0 takes the image as a whole.",
    ),
]
Overlap = Annotated[
    int | None,
    typer.Option(
        "--overlap",
        metavar="N",
        min=0,
        rich_help_panel=SPEED,
        help="Input pixels that neighbouring tiles share. Default: 16, at most half a tile.",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        autocompletion=completion.one_of("auto", "cpu", "cuda", "mps"),
        metavar="auto|cpu|cuda[:N]|mps",
        rich_help_panel=SPEED,
        help="Where to compute.",
    ),
]
Backend = Annotated[
    str,
    typer.Option(
        "--backend",
        autocompletion=completion.one_of("auto", *BACKENDS),
        metavar="|".join(("auto", *BACKENDS)),
        rich_help_panel=SPEED,
        help="What computes the selective scan; `mair doctor` shows which work here.",
    ),
]


def _sigma_option(*flags: str) -> OptionInfo:
    option: OptionInfo = typer.Option(
        *flags,
        metavar="S|auto",
        rich_help_panel=NETWORK,
        help="Noise level of 255, 0 to 75; auto estimates it from each image and says the value.",
    )
    return option


SigmaLevel = Annotated[str | None, _sigma_option("--sigma")]
ShortSigmaLevel = Annotated[str | None, _sigma_option("--sigma", "-s")]  # where -s does not mean the scale
JpegLevel = Annotated[
    str,
    typer.Option(
        "--jpeg",
        metavar="auto|off|1-100",
        rich_help_panel=NETWORK,
        help="JPEG quality that the network is told; auto reads it from each file.",
    ),
]
Scene = Annotated[
    str | None,
    typer.Option(
        "--scene",
        autocompletion=completion.one_of(*SCENES),
        metavar="|".join(SCENES),
        help="What the photographs show. Default: mixed.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", metavar="N", min=1, rich_help_panel=SPEED, help="CPU threads. Default: all cores."),
]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        autocompletion=completion.one_of(*CHOICES),
        metavar="|".join(CHOICES),
        rich_help_panel=SPEED,
        help="Number format of the network; auto: bf16 where that is faster and loses less than 0.01 dB.",
    ),
]
GroundTruth = Annotated[
    str | None,
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
TrainingImages = Annotated[
    list[str] | None,
    typer.Option("--images", help="Folder or file to train on, instead of the recipe's; repeatable."),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a setting of the recipe: training.steps=1000; repeatable."),
]
Verbose = Annotated[
    int, typer.Option("--verbose", "-v", count=True, metavar="", rich_help_panel=REPORT, help="Say more; -vv says all.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", rich_help_panel=REPORT, help="Say nothing but errors.")]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="local|ADDRESS",
        rich_help_panel=CLUSTER,
        help="Restore on many machines, by Ray: local starts it here; auto, HOST:PORT or ray://HOST:PORT finds one.",
    ),
]
Actors = Annotated[
    str | None,
    typer.Option(
        "--actors",
        metavar="auto|N",
        rich_help_panel=CLUSTER,
        help="Networks at work at once on a --cluster, each with --threads CPUs, or a GPU. Default: as many as fit.",
    ),
]
Manifest = Annotated[
    str | None,
    typer.Option(
        "--manifest",
        metavar="FILE",
        rich_help_panel=CLUSTER,
        help="Append a JSON line per picture: input, output, seconds, node, what was told, error. "
        "Default with --cluster: beside the output.",
    ),
]

RUN_OPTIONS: Mapping[str, Any] = {
    "model": Model,
    "weights": Weights,
    "stripe": Stripe,
    "ensemble": Ensemble,
    "tile": Tile,
    "overlap": Overlap,
    "device": Device,
    "backend": Backend,
    "precision": Precision,
    "threads": Threads,
}
"""Settings of `RunSettings` that commands with networks take, under the setting's name, which gives the default."""

TASK_OPTIONS: Mapping[str, Any] = {
    "scale": ScaleValue,
    "size": SizeValue,
    "sigma": SigmaLevel,
    "jpeg": JpegLevel,
    "scene": Scene,
}
"""Settings of `RunSettings` that are for some tasks (`Task.settings`), in the order of help pages."""
