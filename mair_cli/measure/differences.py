"""Where restored images differ most from one another: what a reader should look at first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mair_cli.measure.metrics import luma

__all__ = ["Spot", "most_different_spot"]

_STEP = 8


@dataclass(frozen=True)
class Spot:
    """A square of an image: top, left and side in pixels, and how much the images differ there (levels of 255)."""

    top: int
    left: int
    side: int
    difference: float

    def cut(self, image: np.ndarray) -> np.ndarray:
        """That square of an image (H, W[, C])."""
        return image[self.top : self.top + self.side, self.left : self.left + self.side]


def most_different_spot(images: Sequence[np.ndarray], side: int = 64) -> Spot:
    """The square in which images of one size differ most: mean over its pixels of the largest difference in luma.

    Args:
        images: at least two, (H, W, 3) or (H, W) uint8.
        side: of the square; smaller where the images are.
    """
    planes = np.stack([luma(image) for image in images])
    spread = planes.max(axis=0) - planes.min(axis=0)
    side = min(side, *spread.shape)
    # Sums over all squares from the integral image: four look-ups each.
    integral = np.pad(spread, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    tops, lefts = _starts(spread.shape[0], side), _starts(spread.shape[1], side)
    low, high = np.ix_(tops, lefts), np.ix_(tops + side, lefts + side)
    sums = integral[high] - integral[np.ix_(tops, lefts + side)] - integral[np.ix_(tops + side, lefts)] + integral[low]
    row, column = np.unravel_index(int(sums.argmax()), sums.shape)
    return Spot(int(tops[row]), int(lefts[column]), side, float(sums[row, column]) / side**2)


def _starts(length: int, side: int) -> np.ndarray:
    """Every eighth place at which a square fits, and the last one."""
    return np.unique(np.append(np.arange(0, length - side + 1, _STEP), length - side))
