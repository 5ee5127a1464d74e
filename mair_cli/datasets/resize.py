"""Bicubic resampling equal to MATLAB's `imresize`, which made the benchmarks' low-resolution images.

The kernel is Keys' cubic with a = -0.5, widened by 1/scale when an image shrinks (antialiasing). The two axes are
resampled one after the other, the one with the smaller scale first and rows (height) first when both are equal; 8-bit
images are rounded to 8 bits after *each* pass, halves away from zero, as MATLAB does.

Two rules for what lies beyond the border are known: older MATLAB repeats the edge pixel, and its outputs are the files
that Set5, Set14, BSD100 and Urban100 are distributed with; newer MATLAB mirrors the image. They differ near borders
only.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import Literal, get_args

import numpy as np

from mair_cli.errors import UsageError

__all__ = ["Border", "matlab_bicubic"]

Border = Literal["replicate", "symmetric"]

_BLOCK = 1 << 21
"""Samples in float64 at a time: large pictures are resampled in blocks, so that they take little beside themselves."""


def matlab_bicubic(
    image: np.ndarray,
    scale: Fraction | float | None = None,
    *,
    size: tuple[int, int] | None = None,
    border: Border = "replicate",
) -> np.ndarray:
    """Resample by antialiased bicubic interpolation, as MATLAB's `imresize` does.

    Args:
        image: (H, W) or (H, W, C); uint8, uint16 or floating point.
        scale: factor for both axes, such as `Fraction(1, 4)` or 2; the result has `ceil(H * scale)` rows.
        size: (height, width) of the result instead of a factor; each axis then has its own scale.
        border: what lies beyond the edge, "replicate" (older MATLAB) or "symmetric" (newer).

    Returns:
        The resampled image. Integer types are rounded and clipped after each pass and keep their type; floating-point
        images are neither rounded nor clipped, are computed in float64 and come back in their own type.

    Raises:
        UsageError: not exactly one of scale and size, a size below one pixel, or an unknown border rule.
    """
    if (scale is None) == (size is None):
        raise UsageError("matlab_bicubic needs either a scale or a size")
    if border not in get_args(Border):
        raise UsageError(f"border must be one of {', '.join(get_args(Border))}, not {border!r}")
    source = image.shape[:2]
    if scale is not None:
        exact = scale if isinstance(scale, Fraction) else Fraction(scale).limit_denominator(10_000)
        target = (math.ceil(source[0] * exact), math.ceil(source[1] * exact))
        scales = (exact, exact)
    else:
        assert size is not None
        target = size
        scales = (Fraction(size[0], max(source[0], 1)), Fraction(size[1], max(source[1], 1)))
    if min(*source, *target) < 1:
        raise UsageError(f"cannot resize {source[1]}x{source[0]} pixels to {target[1]}x{target[0]}")
    result = image
    for axis in (0, 1) if scales[0] <= scales[1] else (1, 0):
        result = _resample(result, axis, target[axis], scales[axis], border)
    return result


def _resample(image: np.ndarray, axis: int, length: int, scale: Fraction, border: Border) -> np.ndarray:
    """One pass along `axis`. With the axis moved to the front every tap is a gather of whole rows, which is fast."""
    weights, positions = _taps(image.shape[axis], length, float(scale), border)
    rows = np.moveaxis(image, axis, 0)
    flat = np.ascontiguousarray(rows).reshape(rows.shape[0], -1)
    out = np.empty((length, flat.shape[1]), image.dtype)
    block = max(1, _BLOCK // (rows.shape[0] + length))
    for start in range(0, flat.shape[1], block):  # columns know nothing of each other
        out[:, start : start + block] = _weighted_sums(flat[:, start : start + block], weights, positions)
    return np.moveaxis(out.reshape(length, *rows.shape[1:]), 0, axis)


def _weighted_sums(columns: np.ndarray, weights: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Each output row as a weighted sum of rows in float64; rounded and clipped for integers."""
    exact = columns.astype(np.float64)
    out = np.zeros((len(weights), columns.shape[1]))
    for tap in range(weights.shape[1]):
        out += weights[:, tap, None] * exact[positions[:, tap]]
    if np.issubdtype(columns.dtype, np.integer):
        # Halves away from zero; negative values clip to 0 anyway, so adding a half and flooring is enough.
        out = np.clip(np.floor(out + 0.5), 0, np.iinfo(columns.dtype).max)
    return out


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' kernel, a = -0.5."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x**2 + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    kernel: np.ndarray = np.where(x <= 1.0, near, np.where(x <= 2.0, far, 0.0))
    return kernel


@lru_cache(maxsize=64)
def _taps(source: int, length: int, scale: float, border: Border) -> tuple[np.ndarray, np.ndarray]:
    """Weights (length, taps) and source positions (length, taps) of each output sample along one axis."""
    stretch = min(scale, 1.0)
    centre = (np.arange(length) + 0.5) / scale - 0.5
    reach = 2.0 / stretch
    first = np.floor(centre - reach).astype(np.int64)
    positions = first[:, None] + np.arange(math.ceil(2.0 * reach) + 2)
    weights = _cubic(stretch * (centre[:, None] - positions))
    weights /= weights.sum(axis=1, keepdims=True)
    used = np.any(weights != 0.0, axis=0)
    weights, positions = weights[:, used], positions[:, used]
    if border == "replicate":
        positions = positions.clip(0, source - 1)
    else:
        positions = positions % (2 * source)
        positions = np.minimum(positions, 2 * source - 1 - positions)
    weights.setflags(write=False)
    positions.setflags(write=False)
    return weights, positions
