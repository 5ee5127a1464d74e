"""`mair deblur`: motion deblurring."""

from __future__ import annotations

from mair_cli.cli.options import RestoreOptions, with_restore_options


@with_restore_options
def deblur(options: RestoreOptions, settings: dict[str, object]) -> int:
    """Undo motion blur.

    `mair deblur photo.png` writes photo_mair_deblurred.png beside it.
    """
    from mair_cli.cli.restore import restore

    return restore(options, settings, task="deblur")
