"""`mair upscale`: super-resolution."""

from __future__ import annotations

from mair_cli.cli.options import JpegLevel, RestoreOptions, ScaleValue, SigmaLevel, SizeValue, with_restore_options
from mair_cli.cli.values import parse_jpeg, parse_scale, parse_sigma


@with_restore_options
def upscale(
    options: RestoreOptions,
    settings: dict[str, object],
    scale: ScaleValue = None,
    size: SizeValue = None,
    sigma: SigmaLevel = None,
    jpeg: JpegLevel = "auto",
) -> int:
    """Enlarge photographs 2, 3 or 4 times, or to any size.

    `mair upscale photo.png` writes photo_mair_x4.png beside it; a folder becomes folder_mair_x4/. The network is
    told how strongly a JPEG is compressed, which its file says.
    """
    from mair_cli.cli.restore import restore

    levels = {"sigma": parse_sigma(sigma), "jpeg": parse_jpeg(jpeg)}
    return restore(options, settings, task="sr", **parse_scale(scale, size), **levels)
