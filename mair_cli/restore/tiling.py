"""Where tiles lie: geometry in whole numbers, nothing else.

All tiles of one grid have the same size, which lets them share a batch and a scan order. They are no larger than they
need to be: an image one pixel wider than a tile is cut into two tiles of a little over half its width, not into two
that nearly coincide.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_WORTH_ALIGNING = 1.15  # times the pixels of spans that need not be aligned


@dataclass(frozen=True, slots=True)
class Span:
    """Pixels `start … stop - 1` along one axis."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """Number of pixels."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Region:
    """Rows `y0 … y1 - 1` and columns `x0 … x1 - 1` of an image."""

    y0: int
    x0: int
    y1: int
    x1: int

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.y1 - self.y0

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.x1 - self.x0

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of this region in an array `(H, W, …)`."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def scaled(self, scale: int) -> Region:
        """The same region in an image enlarged by a whole factor."""
        return Region(self.y0 * scale, self.x0 * scale, self.y1 * scale, self.x1 * scale)


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Tiles that cover an image: every row span with every column span."""

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def region(self, row: int, column: int) -> Region:
        """The tile in the given row and column of the grid."""
        return Region(self.rows[row].start, self.columns[column].start, self.rows[row].stop, self.columns[column].stop)

    def __iter__(self) -> Iterator[tuple[int, int, Region]]:
        """Yield `(row, column, region)`, row by row from the top, each from the left."""
        for row in range(len(self.rows)):
            for column in range(len(self.columns)):
                yield row, column, self.region(row, column)


def cut_axis(length: int, tile: int, overlap: int, align: int = 1) -> tuple[Span, ...]:
    """Cover `length` pixels with the fewest equal spans of at most `tile` pixels, spread evenly.

    Neighbours share at least `overlap` pixels, which is taken as at most half a tile: with more, ever more tiles would
    cover each pixel and none would gain by it. A `tile` of 0 means one span.

    A network that walks its input in stripes or blocks of `align` pixels finds the same ones in a tile as in the whole
    image, counted from either end, if tiles start at multiples of it and stop at multiples of it before the end. They
    do wherever that costs little.
    """
    if tile <= 0 or tile >= length:
        return (Span(0, length),)
    overlap = max(0, min(overlap, tile // 2))
    plain = _equal_spans(length, tile, overlap, 1)
    aligned = _equal_spans(length, tile, overlap, align)
    return aligned if aligned and _covered(aligned) <= _WORTH_ALIGNING * _covered(plain) else plain


def plan_tiles(height: int, width: int, tile: int, overlap: int, align: int = 1) -> TileGrid:
    """Cover an image of `height` × `width` pixels with tiles of at most `tile` × `tile`; see `cut_axis`.

    Raises ValueError where a size is below 1.
    """
    if min(height, width, align) < 1 or min(tile, overlap) < 0:
        raise ValueError(f"no tiles for {height}×{width} pixels, tile {tile}, overlap {overlap}, align {align}")
    return TileGrid(cut_axis(height, tile, overlap, align), cut_axis(width, tile, overlap, align))


def _equal_spans(length: int, largest: int, overlap: int, step: int) -> tuple[Span, ...]:
    """The fewest equal spans with starts, and distances of stops from the end, that `step` divides; () if none fit."""
    size = largest - (largest - length) % step
    stride = (size - overlap) // step * step
    if stride < 1:
        return ()
    gaps = _ceil_div(length - size, stride)
    # As few spans of a smaller size may do: each step less must be made up for by the steps between starts.
    while _longest_stride(length - size + step, gaps, step) <= size - step - overlap:
        size -= step
    starts = (index * ((length - size) // step) // gaps * step for index in range(gaps + 1))
    return tuple(Span(start, start + size) for start in starts)


def _longest_stride(distance: int, gaps: int, step: int) -> int:
    """Longest distance between neighbours where `gaps` multiples of `step`, as equal as can be, make `distance`."""
    return _ceil_div(distance // step, gaps) * step


def _covered(spans: tuple[Span, ...]) -> int:
    return sum(span.length for span in spans)


def _ceil_div(number: int, divisor: int) -> int:
    return -(-number // divisor)
