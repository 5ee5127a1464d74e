"""Where pictures of one scene differ most from one another: what a reader should look at first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mair_cli.measure.metrics import luma

__all__ = ["Box", "most_different_box"]

_SEARCHED = 1024  # among at most this many pixels a side, which bounds memory


@dataclass(frozen=True)
class Box:
    """A rectangle of an image, in pixels, and how much the images differ there (levels of 255, in luma)."""

    top: int
    left: int
    height: int
    width: int
    difference: float

    def cut(self, image: np.ndarray) -> np.ndarray:
        """That part of an image (H, W[, C])."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


def most_different_box(images: Sequence[np.ndarray], height: int, width: int) -> Box:
    """The box in which images differ most: mean over its pixels of the largest difference in luma.

    Args:
        images: at least two, (H, W, 3) or (H, W), uint8; those of another size than the last are brought to it by
            bicubic.
        height: of the box, in pixels of the last image; smaller where that is.
        width: of the box, likewise.
    """
    rows, columns = images[-1].shape[:2]
    height, width = min(height, rows), min(width, columns)
    step = -(-max(rows, columns) // _SEARCHED)
    planes = [_sampled_luma(image, rows, columns, step) for image in images]
    spread = np.maximum.reduce(planes) - np.minimum.reduce(planes)
    down, across = max(1, height // step), max(1, width // step)
    # Sums over all boxes at once, from a table of sums of everything above and to the left.
    table = np.pad(spread, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    sums = table[down:, across:] - table[:-down, across:] - table[down:, :-across] + table[:-down, :-across]
    row, column = np.unravel_index(int(sums.argmax()), sums.shape)
    top, left = min(int(row) * step, rows - height), min(int(column) * step, columns - width)
    return Box(top, left, height, width, float(sums[row, column]) / (down * across))


def _sampled_luma(image: np.ndarray, rows: int, columns: int, step: int) -> np.ndarray:
    """Luma of every `step`-th pixel of an image of `rows` x `columns`, or of one brought to that size."""
    if image.shape[:2] == (rows, columns):
        return luma(image[::step, ::step])
    size = (len(range(0, columns, step)), len(range(0, rows, step)))
    return luma(np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)))
