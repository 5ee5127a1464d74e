"""`mair upscale`: super-resolution."""

from __future__ import annotations

from typing import Annotated

import typer

from mair_cli.cli.options import RestoreOptions, with_restore_options


@with_restore_options
def upscale(
    options: RestoreOptions,
    scale: Annotated[
        int | None,
        typer.Option(
            "--scale", "-s", metavar="2|3|4", help="How much larger. Default: 4, or what the named model does."
        ),
    ] = None,
) -> int:
    """Enlarge photographs 2, 3 or 4 times.

    `mair upscale photo.png` writes photo_mair_x4.png beside it; a folder becomes folder_mair_x4/.
    """
    from mair_cli.cli.restore import Task, restore

    return restore(options, Task("sr", scale=scale))
