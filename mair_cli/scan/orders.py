"""Scan orders: in which sequence the selective scan visits the pixels of a grid.

Glossary (Li et al., "MaIR", CVPR 2025, section 3.2):
    NSS      nested S-shaped scanning: S-shaped inside vertical stripes, and S-shaped from stripe to stripe
    stripe   a band of columns, `stripe` wide
    shift    stripe borders move by half a stripe in every second block, so as not to cut the same pixels always
    L        number of pixels, height · width

Besides the paper's order there are those that it is compared with: `raster` (every row left to right, as in VMamba and
MambaIR), `continuous` (rows alternately left to right and right to left), and `window` (square windows of one stripe's
side, row by row inside, as in LocalMamba).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Final, Generic, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from mair_cli.errors import UsageError

ScanPattern = Literal["nested", "raster", "continuous", "window"]
SCAN_PATTERNS: Final[tuple[str, ...]] = get_args(ScanPattern)
DIRECTIONS: Final = 4

CACHE_BYTES: Final = 128 << 20
"""What a cache of orders may hold: those of an image of 8 million pixels, or of several hundred tiles."""

IntArray = NDArray[np.int32]
Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class BoundedCache(Generic[Key, Value]):
    """Keeps what was used last, up to a number of bytes; any thread may ask.

    Args:
        limit: bytes to hold.
        size: bytes of a value.
        always: so many of the latest are held even if they are larger.
    """

    def __init__(self, limit: int, size: Callable[[Value], int], always: int = 0) -> None:
        self._limit, self._size, self._always = limit, size, always
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._lock = Lock()
        self.held = 0
        """Bytes in the cache."""

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of a key, made if it is not there."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            if key not in self._values:  # another thread may have been faster
                self._values[key] = value
                self.held += self._size(value)
            value = self._values[key]
            while len(self._values) > self._always and self.held > self._limit:
                _, oldest = self._values.popitem(last=False)
                self.held -= self._size(oldest)
        return value


_orders: BoundedCache[tuple[int, int, int, bool, str], IntArray] = BoundedCache(CACHE_BYTES, lambda array: array.nbytes)


def _stripe_index(length: int, stripe: int, shifted: bool) -> IntArray:
    """Number of the stripe that each of `length` columns belongs to; shifted, the first stripe is half as wide."""
    columns = np.arange(length, dtype=np.int32)
    shift = stripe // 2 if shifted else 0
    return (columns + (stripe - shift if shift else 0)) // stripe


def _plain_order(height: int, width: int, stripe: int, shifted: bool, pattern: str) -> IntArray:
    """Positions y·width + x in walking order, for the first of the four directions; int32, shape (height · width,)."""
    y, x = np.divmod(np.arange(height * width, dtype=np.int32), np.int32(width))
    keys: tuple[NDArray[np.int32], ...]  # the last one counts first
    if pattern == "raster":
        keys = (x, y)
    elif pattern == "continuous":
        keys = (np.where(y % 2 == 1, -x, x), y)
    elif pattern == "window":
        keys = (x, y, _stripe_index(width, stripe, shifted)[x], _stripe_index(height, stripe, shifted)[y])
    else:
        index = _stripe_index(width, stripe, shifted)[x]
        row = np.where(index % 2 == 1, height - 1 - y, y)
        # The published code turns the rows of the last stripe once more where the first is wider than the grid.
        straight = shifted and width < stripe // 2
        keys = (np.where((row % 2 == 1) & (not straight), -x, x), row, index)
    return np.lexsort(keys).astype(np.int32)


def scan_orders(height: int, width: int, stripe: int, shifted: bool, pattern: str = "nested") -> IntArray:
    """The four directions in which a grid is scanned.

    Args:
        height: rows of the grid, at least 1.
        width: columns of the grid, at least 1.
        stripe: stripe width in columns, at least 1 (for `window` its side; unused by `raster` and `continuous`).
        shifted: whether stripe borders are moved by `stripe // 2`.
        pattern: one of `SCAN_PATTERNS`.

    Returns:
        int32 array (4, height · width), read-only and cached: row k lists the pixel positions y·width + x in the order
        of direction k: the plain order on the image, on the image rotated by 180°, on the transposed image, and on the
        transpose of the rotated image.

    Raises:
        UsageError: unknown pattern, or a size below 1.
    """
    if pattern not in SCAN_PATTERNS:
        raise UsageError(f"Unknown scan pattern {pattern!r}; choose one of {', '.join(SCAN_PATTERNS)}.")
    if min(height, width, stripe) < 1:
        raise UsageError(f"A scan needs height, width and stripe of at least 1, not {height}, {width}, {stripe}.")
    key = (height, width, stripe, shifted, pattern)
    return _orders.get(key, lambda: _four_directions(*key))


def _four_directions(height: int, width: int, stripe: int, shifted: bool, pattern: str) -> IntArray:
    plain = _plain_order(height, width, stripe, shifted, pattern)
    y, x = np.divmod(_plain_order(width, height, stripe, shifted, pattern), np.int32(height))
    transposed = x * np.int32(width) + y
    last = np.int32(height * width - 1)
    orders = np.stack([plain, last - plain, transposed, last - transposed])
    orders.setflags(write=False)
    return orders
