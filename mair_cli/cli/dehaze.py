"""`mair dehaze`: taking haze out of photographs."""

from __future__ import annotations

from typing import Annotated

import typer

from mair_cli.cli import completion
from mair_cli.cli.options import RestoreOptions, with_restore_options
from mair_cli.tasks import SCENES


@with_restore_options
def dehaze(
    options: RestoreOptions,
    settings: dict[str, object],
    scene: Annotated[
        str | None,
        typer.Option(
            "--scene",
            autocompletion=completion.one_of(*SCENES),
            metavar="indoor|outdoor|mixed",
            help="What the photographs show. Default: mixed.",
        ),
    ] = None,
) -> int:
    """Take haze out of photographs.

    `mair dehaze photo.png` writes photo_mair_dehazed.png beside it.
    """
    from mair_cli.cli.restore import restore

    return restore(options, settings, task="dehaze", scene=scene)
