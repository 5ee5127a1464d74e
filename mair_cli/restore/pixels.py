"""Between image arrays and the network's numbers: float32 in [0, 1], rounded and clipped on the way back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mair_cli.errors import MairError, UsageError

FloatArray = npt.NDArray[np.float32]

_LARGEST = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}
_NOISE_MARGIN = 2.0  # how far noise may carry float values beyond black and white; 0 … 255 is a mistake
_ROWS_PER_CHECK = 256  # a large float image is checked in slices, so that the check itself needs no memory


def check_image(image: npt.NDArray[Any]) -> None:
    """Raise UsageError unless `image` is `(H, W)` or `(H, W, 3)`, uint8, uint16 or float32 in [0, 1], and not empty.

    Float values may lie somewhat outside, as noise that was never clipped does.
    """
    if not isinstance(image, np.ndarray):
        raise UsageError(f"An image must be a NumPy array, not {type(image).__name__}: use numpy.asarray(picture).")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or 0 in image.shape:
        hint = " Restore alpha by itself." if image.ndim == 3 and image.shape[2] in (2, 4) else ""
        raise UsageError(f"An image must have the shape (H, W, 3) or (H, W), not {image.shape}.{hint}")
    if image.dtype.newbyteorder("=") not in _LARGEST:
        raise UsageError(f"An image must be uint8, uint16 or float32 in [0, 1], not {image.dtype}: convert it first.")
    if image.dtype.kind == "f":
        _check_range(image)


def _check_range(image: npt.NDArray[Any]) -> None:
    for start in range(0, image.shape[0], _ROWS_PER_CHECK):
        part = image[start : start + _ROWS_PER_CHECK]
        low, high = float(part.min()), float(part.max())
        if not (low >= -_NOISE_MARGIN and high <= 1.0 + _NOISE_MARGIN):  # also catches NaN
            raise UsageError(f"A float image must lie in [0, 1]; this one holds {low:g} … {high:g}: scale or clip it.")


def to_unit(image: npt.NDArray[Any]) -> FloatArray:
    """A float32 copy in [0, 1] of an image or a part of one, C-contiguous, native byte order."""
    largest = np.float32(_LARGEST[image.dtype.newbyteorder("=")])
    unit: FloatArray = np.empty(image.shape, np.float32)
    np.divide(image, largest, out=unit, casting="unsafe", dtype=np.float32)
    return unit


def store_rounded(target: npt.NDArray[Any], values: FloatArray) -> None:
    """Write values into `target`, clipped to [0, 1] and, for integers, rounded half up; `values` is overwritten."""
    np.clip(values, 0.0, 1.0, out=values)
    if target.dtype.kind == "u":
        values *= np.float32(_LARGEST[target.dtype])
        values += np.float32(0.5)  # the cast cuts the fraction off
    np.copyto(target, values, casting="unsafe")


def allocate(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> npt.NDArray[Any]:
    """An empty output array; raises MairError that says its size where memory does not suffice."""
    try:
        return np.empty(shape, dtype)
    except (MemoryError, ValueError) as error:
        size = np.prod([float(length) for length in shape]) * dtype.itemsize / 2**30
        raise MairError(
            f"The result of {shape[1]}×{shape[0]} pixels needs {size:.1f} GiB, more than this machine gives:"
            " restore a smaller image or use a smaller `scale`."
        ) from error
