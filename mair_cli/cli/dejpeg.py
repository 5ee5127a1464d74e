"""`mair dejpeg`: JPEG artefacts away, at the same size."""

from __future__ import annotations

from mair_cli.cli.options import JpegLevel, RestoreOptions, with_restore_options
from mair_cli.cli.values import parse_jpeg


@with_restore_options
def dejpeg(options: RestoreOptions, settings: dict[str, object], jpeg: JpegLevel = "auto") -> int:
    """Take the artefacts of JPEG compression away; how strong they are is read from the file.

    `mair dejpeg photo.jpg` writes photo_mair_dejpeg.jpg beside it. A PNG that was a JPEG once needs --jpeg N.
    """
    from mair_cli.cli.restore import restore

    return restore(options, settings, task="dejpeg", jpeg=parse_jpeg(jpeg))
