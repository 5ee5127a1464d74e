"""`mair denoise`: Gaussian noise of a given or estimated level, or a camera's noise."""

from __future__ import annotations

from typing import Annotated

import typer

from mair_cli.cli.options import JpegLevel, RestoreOptions, ShortSigmaLevel, with_restore_options
from mair_cli.cli.values import check_exclusive, parse_jpeg, parse_sigma


@with_restore_options
def denoise(
    options: RestoreOptions,
    settings: dict[str, object],
    sigma: ShortSigmaLevel = None,
    jpeg: JpegLevel = "auto",
    real: Annotated[bool, typer.Option("--real", help="Remove a camera's noise instead.")] = False,
) -> int:
    """Remove noise: of a known level, of a level estimated from the image, or a camera's.

    JPEG artefacts go too: the network is told how strong they are.

    `mair denoise photo.png` estimates the noise, says how much it is, and writes photo_mair_denoised.png, as `--real`
    does for a camera's noise; `--sigma 25` writes photo_mair_s25.png.
    """
    from mair_cli.cli.restore import restore

    check_exclusive(sigma=sigma is not None, real=real)
    check_exclusive(jpeg=jpeg != "auto", real=real)
    if real:
        return restore(options, settings, task="real-denoise")
    level = "auto" if sigma is None else parse_sigma(sigma)
    return restore(options, settings, task="denoise", sigma=level, jpeg=parse_jpeg(jpeg))
