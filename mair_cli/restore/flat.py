"""Flat graphics: a network trained on photographs draws a dark line beside every line, and makes a gray one black.

Where 7×7 pixels hold no more than three colours, as in logos, screens and drawings without smoothed edges, what comes
out stays between the values of the 3×3 pixels around. Photographs have such places only where they are blown out, and
there the network stays within these anyway: the 18 photographs of Set5 and Set14 lose 0.0000 dB at ×4, the slide among
the latter, a graphic that was reduced, 0.003. Two wider rules were measured and left: places with many equal neighbours
cost that slide 0.21 dB, all places cost photographs 0.07 to 0.20. For a thin line between smoothed edges may have been
black before it was reduced; so these still overshoot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mair_cli.images.picture import Samples

_Codes = npt.NDArray[np.int64]

_COLORS: Final = 3
_REACH: Final = 3
_ROWS: Final = 64
_EQUAL: Final = 0.1  # share of equal neighbours in a row below which a band is not looked at: no drawing has so few


def within_neighbours(restored: Samples, picture: Samples) -> Samples:
    """The restored picture without values, in flat graphics, that its source has nowhere around.

    Args:
        restored: (H · scale, W · scale, 3) or (H · scale, W · scale).
        picture: what it was made of, (H, W, 3) or (H, W), of the same type.

    Returns:
        `restored`, changed in place; as it was for float32, and where `scale` is no whole number.
    """
    scale = restored.shape[0] // picture.shape[0]
    if picture.dtype == np.float32 or restored.shape[:2] != tuple(scale * side for side in picture.shape[:2]):
        return restored
    for top in range(0, len(picture), _ROWS):
        end = min(top + _ROWS, len(picture))
        flat = _flat_places(picture, top, end)
        if not flat.any():
            continue
        first, last = max(0, top - 1), min(len(picture), end + 1)
        inner = slice(top - first, end - first)
        least, most = (_over_3x3(picture[first:last], function)[inner] for function in (np.minimum, np.maximum))
        least, most, flat = (each.repeat(scale, axis=0).repeat(scale, axis=1) for each in (least, most, flat))
        out = restored[top * scale : end * scale]
        np.copyto(out, out.clip(least, most), where=flat if out.ndim == 2 else flat[..., None])
    return restored


def _flat_places(picture: Samples, top: int, end: int) -> npt.NDArray[np.bool_]:
    """Which pixels of the rows from `top` to `end` have at most three colours around."""
    first, last = max(0, top - _REACH), min(len(picture), end + _REACH)
    codes = _codes(picture[first:last])
    shape = (end - top, codes.shape[1])
    if (codes[:, 1:] == codes[:, :-1]).sum() < _EQUAL * codes.size:
        return np.zeros(shape, bool)
    padding = (first - (top - _REACH), end + _REACH - last)
    codes = np.pad(codes, (padding, (_REACH, _REACH)), "edge")
    known = np.full((_COLORS, *shape), -1, np.int64)
    more = np.zeros(shape, bool)
    for row in range(2 * _REACH + 1):
        for column in range(2 * _REACH + 1):
            code = codes[row : row + shape[0], column : column + shape[1]]
            fresh = (known != code).all(axis=0)
            more |= fresh & (known[-1] >= 0)
            known = np.where(fresh, np.concatenate([code[None], known[:-1]]), known)
    return ~more


def _codes(picture: Samples) -> _Codes:
    """A number for each colour."""
    values = picture.astype(np.int64)
    return values if values.ndim == 2 else (values[..., 0] << 32) + (values[..., 1] << 16) + values[..., 2]


def _over_3x3(values: Samples, function: Callable[[Samples, Samples], Any]) -> Samples:
    """`function`, minimum or maximum, over each pixel and those around it."""
    for axis in (0, 1):
        lines = np.swapaxes(values, 0, axis)
        wide = lines.copy()
        wide[1:] = function(wide[1:], lines[:-1])
        wide[:-1] = function(wide[:-1], lines[1:])
        values = np.swapaxes(wide, 0, axis)
    return values
