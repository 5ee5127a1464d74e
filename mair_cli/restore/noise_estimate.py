"""How noisy an image is: the standard deviation of white Gaussian noise, from the image alone.

Source: Chen, Zhu, Heng, "An efficient statistical method for image noise level estimation", ICCV 2015. Small patches
of a clean photograph lie near a low-dimensional space, noise fills all dimensions alike. So of the eigenvalues of the
patches' covariance the smallest scatter symmetrically around the noise's variance: taking away the largest ones until
mean and median agree leaves just those.

Two additions. Files cut noise off at black and white, which would make it look weaker. So patches that noise could
carry there are left out, once a first estimate tells how far it reaches.

And channels need not be independent: JPEG mostly stores colour at half the resolution, gray may be stored as RGB, an
old photograph is toned. Then some of the dimensions hold hardly any noise, and the smallest eigenvalues tell nothing.
This shows in the covariance of the channels within the flattest places of the picture, seen through a filter that
passes the finest details only; where it shows, the noise is taken from there. Rows and columns that an enlargement by
nearest neighbour repeats are left out first.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mair_cli.errors import UsageError
from mair_cli.restore.jpeg_noise import noise_before_jpeg
from mair_cli.restore.pixels import FloatArray, to_unit

_PATCH = 8
_SMALLEST_SIDE = 24
_MOST_PATCHES = 60_000
_PATCHES_PER_VALUE = 8  # fewer patches than this, per dimension, leave the covariance too uncertain
_CHUNK_ROWS = 64
_REACH = 2.0  # standard deviations
_LARGEST_MARGIN = 0.4
_PASSES = 3
_BLOCK = 8  # side of the places looked at, in coefficients of 2×2 pixels
_FLATTEST = 0.03  # share of the places; fewer would be chosen for their noise rather than for lack of detail
_CHOSEN_FOR_LITTLE_NOISE = 1.23  # by how much noise exceeds that of the calmest such share, for pure noise (measured)
_INDEPENDENT = 0.25  # least noise among all mixtures of the channels, over the mean; 1 for independent ones
_COLOR_AT_HALF_SIZE = 0.04  # the same after halving: where colour was stored at half the resolution, it is back
_GRAY_OF_RGB = 0.668  # noise of BT.601 luma for independent channels with 1
_DETAIL_NOT_NOISE = 0.8
_MOST_PIXELS = 4_000_000


def estimate_noise(image: npt.NDArray[Any], jpeg_quality: int | None = None) -> float:
    """Estimate σ, the noise's standard deviation of 255 (as the noise level is counted everywhere).

    Args:
        image: (H, W, 3) or (H, W), uint8, uint16 or float32 in [0, 1] (noise may go beyond).
        jpeg_quality: of the file that the image was read from, where it is a JPEG: what compression took is added.

    Raises:
        UsageError: a side is below 24 pixels.
    """
    sigma = _noise_of_pixels(image)
    return sigma if jpeg_quality is None else noise_before_jpeg(image, jpeg_quality, sigma)


def _noise_of_pixels(image: npt.NDArray[Any]) -> float:
    if min(image.shape[:2]) < _SMALLEST_SIDE:
        raise UsageError(
            f"`sigma` auto: an image must be at least {_SMALLEST_SIDE} pixels wide and high: give a number."
        )
    channels = _distinct(image if image.ndim == 3 else image[..., None])
    flattest = _flattest_noise(channels)
    if channels.shape[2] == 3 and not flattest.independent:
        return flattest.sigma * 255.0
    sigma = _estimate(channels, margin=0.0)
    for _ in range(_PASSES - 1 if _is_cut_off(channels) else 0):
        sigma = _estimate(channels, margin=min(_REACH * sigma, _LARGEST_MARGIN)) or sigma
    if channels.shape[2] == 1 and flattest.sigma < _DETAIL_NOT_NOISE * sigma:
        sigma = flattest.sigma  # one channel has few dimensions, which the details of a photograph may fill
    return float(sigma or 0.0) * 255.0


def _distinct(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(H, W, C) without repeated rows and columns, and with one channel where all are equal."""
    if (image == image[..., :1]).all():
        image = image[..., :1]
    for axis in (0, 1):
        lines = np.moveaxis(image, axis, 0)
        keep = np.ones(len(lines), bool)
        keep[1:] = [bool((after != before).any()) for before, after in itertools.pairwise(lines)]
        if _SMALLEST_SIDE <= keep.sum() < len(lines):
            image = np.compress(keep, image, axis=axis)
    return image


@dataclass(frozen=True)
class _FlattestNoise:
    """σ in [0, 1] by the flattest places, and whether the noise of the channels is independent there."""

    sigma: float
    independent: bool


def _flattest_noise(image: npt.NDArray[Any]) -> _FlattestNoise:
    """Noise of an (H, W, C) image by the covariance of its channels where it has the least detail."""
    rows = 4 * _BLOCK
    step = max(1, image.shape[0] * image.shape[1] // _MOST_PIXELS)
    bands = [to_unit(image[top : top + rows]) for top in range(0, image.shape[0] - rows + 1, rows * step)]
    unit = np.concatenate(bands) if bands else to_unit(image)
    sigma, least = 0.0, 1.0
    for _ in range(2):
        margin = min(_REACH * sigma, _LARGEST_MARGIN) if _is_cut_off(image) else -np.inf
        sigma, least = _noise_of_details(unit, margin)
    if image.shape[2] == 3 and least < _INDEPENDENT:
        color = max(_noise_of_details(half, -np.inf)[1] for half in (_halve(unit), _halve(_halve(unit))))
        sigma /= _GRAY_OF_RGB if color > _COLOR_AT_HALF_SIZE else 1.0
    return _FlattestNoise(sigma, least >= _INDEPENDENT)


def _noise_of_details(image: FloatArray, margin: float) -> tuple[float, float]:
    """Noise of the finest details in the flattest places, and the least over all mixtures of channels, over its mean.

    Places nearer than `margin` to black or white are left out, where enough others remain.
    """
    height, width = (side // 2 * 2 for side in image.shape[:2])
    a, b, c, d = (image[top:height:2, left:width:2] for top, left in ((0, 0), (0, 1), (1, 0), (1, 1)))
    details, means = (
        _blocks((a - b - c + d) * np.float32(0.5)),
        _blocks((a + b + c + d) * np.float32(0.25)).mean(axis=1),
    )
    if not len(details):
        return 0.0, 1.0
    inside = ((means >= margin) & (means <= 1 - margin)).all(axis=1)
    details = details[inside] if inside.sum() > 1 / _FLATTEST else details
    count = max(1, round(_FLATTEST * len(details)))
    flattest = details[np.argsort(np.square(details).mean(axis=(1, 2)), kind="stable")[:count]]
    values = flattest.reshape(-1, image.shape[2]).astype(np.float64)
    variances = np.linalg.eigvalsh(values.T @ values / len(values))
    mean = float(variances.mean())
    return _CHOSEN_FOR_LITTLE_NOISE * math.sqrt(max(mean, 0.0)), float(variances[0]) / mean if mean > 0 else 1.0


def _blocks(values: FloatArray) -> FloatArray:
    """(blocks, values in one, C) of (H, W, C)."""
    rows, columns = values.shape[0] // _BLOCK, values.shape[1] // _BLOCK
    cut = values[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK, values.shape[2])
    return cut.transpose(0, 2, 1, 3, 4).reshape(rows * columns, _BLOCK * _BLOCK, values.shape[2])


def _halve(image: FloatArray) -> FloatArray:
    """Means over 2×2 pixels."""
    height, width = (side // 2 * 2 for side in image.shape[:2])
    halved: FloatArray = image[:height, :width].reshape(height // 2, 2, width // 2, 2, -1).mean(axis=(1, 3))
    return halved


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
