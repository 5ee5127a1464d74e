"""`mair upscale`: super-resolution."""

from __future__ import annotations

from typing import Annotated

import typer

from mair_cli.cli.options import JpegLevel, RestoreOptions, SigmaLevel, parse_jpeg, parse_sigma, with_restore_options


@with_restore_options
def upscale(
    options: RestoreOptions,
    settings: dict[str, object],
    scale: Annotated[
        int | None,
        typer.Option(
            "--scale", "-s", metavar="2|3|4", help="How much larger. Default: 4, or what the named model does."
        ),
    ] = None,
    sigma: SigmaLevel = None,
    jpeg: JpegLevel = "auto",
) -> int:
    """Enlarge photographs 2, 3 or 4 times.

    `mair upscale photo.png` writes photo_mair_x4.png beside it; a folder becomes folder_mair_x4/. The network is
    told how strongly a JPEG is compressed, which its file says.
    """
    from mair_cli.cli.restore import restore

    return restore(options, settings, task="sr", scale=scale, sigma=parse_sigma(sigma), jpeg=parse_jpeg(jpeg))
