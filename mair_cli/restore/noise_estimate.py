"""How noisy an image is: the standard deviation of white Gaussian noise, from the image alone.

Source: Chen, Zhu, Heng, "An efficient statistical method for image noise level estimation", ICCV 2015. Small patches
of a clean photograph lie near a low-dimensional space, noise fills all dimensions alike. So of the eigenvalues of the
patches' covariance the smallest scatter symmetrically around the noise's variance: taking away the largest ones until
mean and median agree leaves just those.

One addition: files cut noise off at black and white, which would make it look weaker. So patches that noise could
carry there are left out, once a first estimate tells how far it reaches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from mair_cli.errors import UsageError
from mair_cli.restore.pixels import FloatArray, to_unit

_PATCH = 8
_SMALLEST_SIDE = 24
_MOST_PATCHES = 60_000
_PATCHES_PER_VALUE = 8  # fewer patches than this, per dimension, leave the covariance too uncertain
_CHUNK_ROWS = 64
_REACH = 2.0  # standard deviations
_LARGEST_MARGIN = 0.4
_PASSES = 3


def estimate_noise(image: npt.NDArray[Any]) -> float:
    """Estimate σ, the noise's standard deviation of 255 (as `--sigma` counts it).

    `image` is (H, W, 3) or (H, W), uint8, uint16 or float32 in [0, 1] (noise may go beyond). Raises UsageError where a
    side is below 24 pixels.
    """
    if min(image.shape[:2]) < _SMALLEST_SIDE:
        raise UsageError(
            f"--sigma auto: an image must be at least {_SMALLEST_SIDE} pixels wide and high: give a number."
        )
    channels = image if image.ndim == 3 else image[..., None]
    sigma = _estimate(channels, margin=0.0)
    for _ in range(_PASSES - 1 if _is_cut_off(channels) else 0):
        sigma = _estimate(channels, margin=min(_REACH * sigma, _LARGEST_MARGIN)) or sigma
    return float(sigma or 0.0) * 255.0


def _is_cut_off(image: npt.NDArray[Any]) -> bool:
    """Whether the values end at black and white, as in every file; noise drawn in memory goes beyond."""
    return image.dtype.kind == "u" or (float(image.min()) >= 0.0 and float(image.max()) <= 1.0)


def _estimate(image: npt.NDArray[Any], margin: float) -> float:
    """σ in [0, 1] from patches at least `margin` from black and white in every channel; 0 where they are too few."""
    size = _PATCH * _PATCH * image.shape[2]
    total, outer, count = np.zeros(size), np.zeros((size, size)), 0
    for found in _patches(image):
        means = found.reshape(len(found), image.shape[2], -1).mean(axis=2)
        patches = found[((means >= margin) & (means <= 1 - margin)).all(axis=1)] if margin > 0 else found
        total += patches.sum(axis=0, dtype=np.float64)
        outer += patches.T @ patches
        count += len(patches)
    if count < (_PATCHES_PER_VALUE * size if margin > 0 else 2):
        return 0.0
    mean = total / count
    return math.sqrt(max(_noise_variance(np.linalg.eigvalsh(outer / count - np.outer(mean, mean))), 0.0))


def _noise_variance(ascending: npt.NDArray[np.floating]) -> float:
    """Mean of the smallest eigenvalues, as many as there are once their mean has come down to their median."""
    for count in range(len(ascending), 1, -1):
        mean = float(ascending[:count].mean())
        if mean <= float(np.median(ascending[:count])):
            return mean
    return float(ascending[0])


def _patches(image: npt.NDArray[Any]) -> Iterator[FloatArray]:
    """Yield arrays (patches, C·8·8) of 8×8 patches, on a grid as dense as the image's size calls for."""
    height, width, _ = image.shape
    step = max(1, round(((height * width) / _MOST_PATCHES) ** 0.5))
    for top in range(0, height - _PATCH + 1, _CHUNK_ROWS * step):
        rows = to_unit(image[top : top + (_CHUNK_ROWS - 1) * step + _PATCH])
        windows = np.lib.stride_tricks.sliding_window_view(rows, (_PATCH, _PATCH), axis=(0, 1))[::step, ::step]
        yield windows.reshape(windows.shape[0] * windows.shape[1], -1)
