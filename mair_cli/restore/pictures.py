"""A picture or an animation to the same restored, with everything that it carries: alpha, profile, EXIF data.

Between `restorer`, which knows arrays, and `images`, which knows files.
"""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from mair_cli.datasets.resize import matlab_bicubic
from mair_cli.errors import ImageError, UsageError
from mair_cli.images.alpha import fill_hidden_color
from mair_cli.images.picture import Animation, Picture, Samples
from mair_cli.restore.flat import within_neighbours
from mair_cli.restore.progress import Progress, share
from mair_cli.restore.settings import AlphaChoice, Levels

__all__ = ["ImageRestorer", "levels_of", "restore_frames", "restore_picture"]


class ImageRestorer(typing.Protocol):
    """What a batch needs of `mair_cli.restore.restorer.Restorer`; see there."""

    model_name: str

    @property
    def scale(self) -> int | None:
        """How much larger results are; None where that depends on the picture."""

    def enlargement(self, width: int, height: int) -> int:
        """How much larger than the input a picture becomes on the way."""

    def output_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the result."""

    def networks_for(self, width: int, height: int) -> Sequence[ImageRestorer]:
        """The networks that restore a picture of this size, in order."""

    def levels(self, image: npt.NDArray[np.generic], *, file_quality: int | None = None) -> Levels:
        """What the network is told of an image."""

    def __call__(
        self,
        image: npt.NDArray[np.generic],
        *,
        levels: Levels | None = None,
        progress: Progress | None = None,
    ) -> npt.NDArray[np.generic]:
        """Restore (H, W, 3) or (H, W); the result has the same type."""


def levels_of(picture: Picture, restorer: ImageRestorer) -> Levels:
    """What the network is told of a picture. Raises ImageError for one that is too small to estimate from."""
    try:
        return restorer.levels(picture.color, file_quality=picture.jpeg_quality)
    except UsageError as error:  # about this image, not about the whole run
        raise ImageError(str(error)) from error


def restore_frames(
    image: Picture | Animation,
    restorer: ImageRestorer,
    alpha: AlphaChoice = "model",
    levels: Levels | Sequence[Levels] | None = None,
    progress: Progress | None = None,
) -> Picture | Animation:
    """All of a file restored: a picture, or each frame or page with levels of its own.

    Args:
        image: what `read_picture` gives.
        restorer: restores colours.
        alpha: what becomes of transparency.
        levels: what the network is told of the (first) picture, or of each; what is missing is found out.
        progress: told of finished tiles; frames count as having equally many.
    """
    known = [levels] if isinstance(levels, Levels) else list(levels or ())
    frames = [image] if isinstance(image, Picture) else image.frames
    known += [levels_of(frame, restorer) for frame in frames[len(known) :]]
    restored = [
        restore_picture(frame, restorer, alpha, told, share(progress, index, len(frames)))
        for index, (frame, told) in enumerate(zip(frames, known, strict=True))
    ]
    if isinstance(image, Picture):
        return restored[0]
    return Animation(restored, image.durations, image.loop)


def restore_picture(
    picture: Picture,
    restorer: ImageRestorer,
    alpha: AlphaChoice = "model",
    levels: Levels | None = None,
    progress: Progress | None = None,
) -> Picture:
    """The picture with its colours, and its alpha unless that is dropped, restored; all else is kept.

    Args:
        picture: what `read_picture` gives.
        restorer: restores colours.
        alpha: what becomes of transparency.
        levels: what the network is told of the picture.
        progress: told of finished tiles.
    """
    visible = picture.color if alpha == "drop" else fill_hidden_color(picture)
    color = cast("Samples", restorer(visible, levels=levels, progress=progress))
    if restorer.scale != 1:
        color = within_neighbours(color, visible)
    opacity = None
    if picture.alpha is not None and alpha != "drop":
        opacity = _restore_alpha(picture.alpha, restorer, alpha)
    return replace(picture, color=color, alpha=opacity)


def _restore_alpha(alpha: Samples, restorer: ImageRestorer, choice: AlphaChoice) -> Samples:
    width, height = restorer.output_size(alpha.shape[1], alpha.shape[0])
    if alpha.min() == alpha.max():  # nearly every picture with alpha is opaque: nothing to restore
        return np.full((height, width), alpha.flat[0], alpha.dtype)
    if choice == "model":
        # A mask is neither noisy nor compressed, whatever its picture is.
        return cast("Samples", restorer(alpha, levels=Levels(sigma=0.0)))
    return resized(alpha, width, height)


def resized(samples: npt.NDArray[Any], width: int, height: int) -> npt.NDArray[Any]:
    """(H, W) or (H, W, 3) at another size by antialiased bicubic; itself where it has it. Floats stay in [0, 1]."""
    if samples.shape[:2] == (height, width):
        return samples
    out: npt.NDArray[Any] = matlab_bicubic(samples, size=(height, width))
    return out.clip(0, 1) if np.issubdtype(out.dtype, np.floating) else out
