"""`mair denoise`: Gaussian noise of a given or estimated level, or a camera's noise."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mair_cli.cli.options import RestoreOptions, check_exclusive, with_restore_options
from mair_cli.errors import UsageError


@with_restore_options
def denoise(
    options: RestoreOptions,
    sigma: Annotated[
        str | None,
        typer.Option(
            "--sigma",
            "-s",
            metavar="S|auto",
            help="Noise level of 255, above 0 and up to 75; auto estimates it from each image and says the value.",
        ),
    ] = None,
    real: Annotated[bool, typer.Option("--real", help="Remove a camera's noise instead.")] = False,
) -> int:
    """Remove noise: of a known level, of a level estimated from the image, or a camera's.

    `mair denoise --sigma 25 photo.png` writes photo_mair_s25.png; `--sigma auto` and `--real` write
    photo_mair_denoised.png.
    """
    from mair_cli.cli.restore import Task, restore

    check_exclusive(sigma=sigma is not None, real=real)
    if real:
        return restore(options, Task("real-denoise"))
    if sigma is None:
        raise UsageError(
            "Which noise? Give --sigma S (its level of 255), --sigma auto, or --real for a camera's noise."
        )
    return restore(options, Task("denoise", sigma=parse_sigma(sigma)))


def parse_sigma(text: str) -> float | Literal["auto"]:
    """The noise level of 255, or "auto".

    Raises:
        UsageError: not a number above 0 and up to 75.
    """
    from mair_cli.restore.restorer import MAX_SIGMA

    if text == "auto":
        return "auto"
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value <= MAX_SIGMA:  # also refuses nan
        raise UsageError(f"--sigma {text}: give a number above 0 and up to {MAX_SIGMA:g}, or auto.")
    return value
