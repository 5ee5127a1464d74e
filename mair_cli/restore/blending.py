"""How overlapping tiles become one picture, with memory for the seams only.

Tiles come row by row. Where a tile overlaps what lies there already, the result glides from the old to the new along a
smooth ramp, first across, then down: `old + weight · (new - old)`. So the weights of all tiles at a pixel sum to one
wherever it lies, and tiles that agree exactly leave exactly their value. A pixel that no later tile reaches is finished
and goes to the output at once: only the seams, to the left and above, are kept in floating point.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from mair_cli.restore.tiling import Span, TileGrid

FloatArray = npt.NDArray[np.float32]
Store = Callable[[npt.NDArray[Any], FloatArray], None]
"""Writes float values of shape (h, w, C) into a view of the output of the same shape."""


@lru_cache(maxsize=64)
def ramp(length: int) -> FloatArray:
    """Weights of the later of two tiles over their `length` shared pixels: read-only float32, rising inside (0, 1).

    The smoothstep curve `t² (3 - 2t)` at pixel centres. It is flat at both ends, so that no kink shows, and
    symmetric: read backwards it is what remains for the earlier tile.
    """
    t = (np.arange(length, dtype=np.float64) + 0.5) / max(length, 1)
    weights = (t * t * (3.0 - 2.0 * t)).astype(np.float32)
    weights.flags.writeable = False
    return weights


class Canvas:
    """Takes the tiles of a grid in order and writes the blended picture.

    `out` is the array to fill, `(H·scale, W·scale, C)` for a grid over `(H, W)`; `store` converts to its type.
    """

    def __init__(self, out: npt.NDArray[Any], grid: TileGrid, scale: int, store: Store) -> None:
        self._out = out
        self._store = store
        self._rows = [Span(span.start * scale, span.stop * scale) for span in grid.rows]
        self._columns = [Span(span.start * scale, span.stop * scale) for span in grid.columns]
        self._left = _seam(0, 0, 0)
        self._above = _seam(0, out.shape[1], out.shape[2])
        self._below = self._above

    def add(self, row: int, column: int, tile: FloatArray) -> None:
        """Blend in the tile at `(row, column)`: float32 `(h, w, C)`, changed in place.

        Tiles must come row by row, each row from the left.
        """
        if column == 0:
            self._begin_row(row, tile.shape[0], tile.shape[2])
        finished = self._blend_across(column, tile)
        self._blend_down(row, column, finished)

    def _begin_row(self, row: int, height: int, channels: int) -> None:
        self._above = self._below
        self._below = _seam(_shared(self._rows, row), self._out.shape[1], channels)
        self._left = _seam(height, 0, channels)

    def _blend_across(self, column: int, tile: FloatArray) -> FloatArray:
        """Blend with the tile to the left; return the columns that the next tile does not reach."""
        overlap = self._left.shape[1]
        _crossfade(self._left, tile[:, :overlap], ramp(overlap)[:, None])
        keep = tile.shape[1] - _shared(self._columns, column)
        self._left = tile[:, keep:].copy()
        return tile[:, :keep]

    def _blend_down(self, row: int, column: int, piece: FloatArray) -> None:
        """Blend with the row above; store what the next row does not reach and keep the rest for it."""
        x0 = self._columns[column].start
        columns = slice(x0, x0 + piece.shape[1])
        overlap = self._above.shape[0]
        _crossfade(self._above[:, columns], piece[:overlap], ramp(overlap)[:, None, None])
        keep = piece.shape[0] - self._below.shape[0]
        self._below[:, columns] = piece[keep:]
        y0 = self._rows[row].start
        self._store(self._out[y0 : y0 + keep, columns], piece[:keep])


def _crossfade(earlier: FloatArray, later: FloatArray, weights: FloatArray) -> None:
    """Replace `later` by the blend of both; equal values stay exactly equal."""
    later -= earlier
    later *= weights
    later += earlier


def _shared(spans: list[Span], index: int) -> int:
    """Number of pixels that a span shares with the next one; 0 for the last."""
    return spans[index].stop - spans[index + 1].start if index + 1 < len(spans) else 0


def _seam(height: int, width: int, channels: int) -> FloatArray:
    return np.empty((height, width, channels), np.float32)
