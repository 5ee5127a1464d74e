"""PSNR and SSIM as super-resolution and denoising papers print them.

Both follow the published MATLAB/BasicSR protocol: 8-bit images, optionally a border cropped away, measured either on
the luma channel of BT.601 in studio range or on all three channels. Everything is computed in float64.
"""

from __future__ import annotations

import math

import numpy as np

from mair_cli.errors import ImageError

__all__ = ["luma", "psnr", "ssim", "ssim_3d"]

_LUMA = np.array([65.481, 128.553, 24.966]) / 255.0
_WINDOW_SIDE = 11
_WINDOW_SIGMA = 1.5
_C1 = (0.01 * 255.0) ** 2
_C2 = (0.03 * 255.0) ** 2
# Rows per block: the temporaries of one block stay in the second-level cache, which makes SSIM about twice as fast.
_BLOCK_ROWS = 32


def luma(image: np.ndarray) -> np.ndarray:
    """Y of BT.601 in studio range, not rounded.

    Args:
        image: (H, W, 3) RGB or (H, W) gray, values in [0, 255]. Gray counts as R = G = B, as published code reads it.

    Returns:
        (H, W) float64 in [16, 235].
    """
    if image.ndim == 2:
        return 16.0 + image.astype(np.float64) * float(_LUMA.sum())
    return 16.0 + image.astype(np.float64) @ _LUMA


def _planes(a: np.ndarray, b: np.ndarray, crop: int, y_channel: bool) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Channels of both images as float64 planes, cropped; raises ImageError where the two can't be compared."""
    if a.shape != b.shape:
        raise ImageError(f"images of different size cannot be compared: {_shape(a)} and {_shape(b)}")
    if a.ndim not in (2, 3) or (a.ndim == 3 and a.shape[2] != 3):
        raise ImageError(f"an image must be (H, W, 3) or (H, W) to be measured, not {a.shape}")
    if a.dtype != np.uint8 or b.dtype != np.uint8:
        raise ImageError(f"PSNR and SSIM are measured on 8-bit images, not on {a.dtype} and {b.dtype}")
    height, width = a.shape[:2]
    if crop < 0 or min(height, width) <= 2 * crop:
        raise ImageError(f"nothing is left of a {width}x{height} image after cropping {crop} pixels from each edge")
    inner = (slice(crop, height - crop), slice(crop, width - crop))
    return _split(a[inner], y_channel), _split(b[inner], y_channel)


def _split(image: np.ndarray, y_channel: bool) -> list[np.ndarray]:
    if y_channel:
        return [luma(image)]
    if image.ndim == 2:
        return [image.astype(np.float64)]
    return [np.ascontiguousarray(image[:, :, channel], dtype=np.float64) for channel in range(3)]


def _shape(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}" + (" gray" if image.ndim == 2 else " colour")


def psnr(a: np.ndarray, b: np.ndarray, crop: int = 0, y_channel: bool = False) -> float:
    """Peak signal-to-noise ratio in dB, peak 255.

    Args:
        a: (H, W, 3) RGB or (H, W) gray, uint8.
        b: the same shape and type.
        crop: pixels left out at every edge (the scale factor, in super-resolution).
        y_channel: measure on `luma` instead of on all channels.

    Returns:
        dB; `math.inf` for equal images.

    Raises:
        ImageError: the shapes differ, the type is not uint8, or nothing is left after cropping.
    """
    first, second = _planes(a, b, crop, y_channel)
    error = sum(float(np.square(x - y).sum()) for x, y in zip(first, second, strict=True))
    mean = error / sum(x.size for x in first)
    return math.inf if mean == 0.0 else 10.0 * math.log10(255.0**2 / mean)


def ssim(a: np.ndarray, b: np.ndarray, crop: int = 0, y_channel: bool = False) -> float:
    """Structural similarity (Wang et al., 2004): 11x11 Gaussian window, sigma 1.5, valid region, mean over channels.

    Args:
        a: (H, W, 3) RGB or (H, W) gray, uint8, at least 11x11 after cropping.
        b: the same shape and type.
        crop: pixels left out at every edge.
        y_channel: measure on `luma` instead of on all channels.

    Returns:
        A number up to 1, reached by equal images.

    Raises:
        ImageError: the shapes differ, the type is not uint8, or under 11x11 pixels are left after cropping.
    """
    first, second = _planes(a, b, crop, y_channel)
    if min(first[0].shape) < _WINDOW_SIDE:
        height, width = first[0].shape
        raise ImageError(f"SSIM needs at least 11x11 pixels; {width}x{height} are left after cropping")
    return float(np.mean([_ssim_plane(x, y) for x, y in zip(first, second, strict=True)]))


def ssim_3d(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM with a Gaussian window of 11x11x11 over rows, columns and channels, every edge repeated outwards.

    What papers on deblurring, dehazing and camera noise print (MPRNet's code and its heirs); higher than `ssim`, since
    channels are smoothed into one another.

    Args:
        a: (H, W, 3) RGB uint8.
        b: the same shape and type.

    Returns:
        A number up to 1, reached by equal images.

    Raises:
        ImageError: the shapes differ, or the images are not in colour or not of type uint8.
    """
    if a.ndim != 3:
        raise ImageError(f"SSIM over channels needs (H, W, 3), not {a.shape}")
    margin = _WINDOW_SIDE // 2
    edges = ((0, 0), (margin, margin), (margin, margin))
    first, second = (np.pad(np.stack(planes), edges, mode="edge") for planes in _planes(a, b, 0, False))
    height, total = a.shape[0], 0.0
    for top in range(0, height, _BLOCK_ROWS):
        rows = slice(top, min(top + _BLOCK_ROWS, height) + 2 * margin)
        total += float(_similarity(first[:, rows], second[:, rows], _across_channels()).sum())
    return total / a.size


def _across_channels() -> np.ndarray:
    """(3, 3): what a window over three channels, the outer ones repeated outwards, makes of them."""
    mixing = np.zeros((3, 3))
    for offset, weight in enumerate(_window(), -(_WINDOW_SIDE // 2)):
        for channel in range(3):
            mixing[channel, min(max(channel + offset, 0), 2)] += weight
    return mixing


def _window() -> np.ndarray:
    offsets = np.arange(_WINDOW_SIDE) - _WINDOW_SIDE // 2
    weights = np.exp(-(offsets**2) / (2.0 * _WINDOW_SIGMA**2))
    normalised: np.ndarray = weights / weights.sum()
    return normalised


def _blur(planes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Separable valid-region blur of (P, H, W) planes, using that the window is symmetric."""
    half = _WINDOW_SIDE // 2
    rows = planes.shape[1] - 2 * half
    tall = weights[half] * planes[:, half : half + rows]
    for i in range(half):
        tall += weights[i] * (planes[:, i : i + rows] + planes[:, 2 * half - i : 2 * half - i + rows])
    columns = planes.shape[2] - 2 * half
    out: np.ndarray = weights[half] * tall[:, :, half : half + columns]
    for i in range(half):
        out += weights[i] * (tall[:, :, i : i + columns] + tall[:, :, 2 * half - i : 2 * half - i + columns])
    return out


def _ssim_plane(x: np.ndarray, y: np.ndarray) -> float:
    margin = _WINDOW_SIDE - 1
    rows, columns = x.shape[0] - margin, x.shape[1] - margin
    total = 0.0
    for top in range(0, rows, _BLOCK_ROWS):
        block = slice(top, min(top + _BLOCK_ROWS, rows) + margin)
        total += float(_similarity(x[None, block], y[None, block]).sum())
    return float(total / (rows * columns))


def _similarity(x: np.ndarray, y: np.ndarray, mixing: np.ndarray | None = None) -> np.ndarray:
    """The map whose mean is SSIM: of (C, H, W) planes, valid region; with `mixing` (C, C) over channels too."""
    moments = np.stack([x, y, x * x, y * y, x * y])
    blurred = _blur(moments.reshape(-1, *x.shape[1:]), _window())
    blurred = blurred.reshape(5, x.shape[0], *blurred.shape[1:])
    if mixing is not None:
        blurred = np.einsum("cd,mdhw->mchw", mixing, blurred)
    mean_x, mean_y, square_x, square_y, product = blurred
    variances = square_x - mean_x**2 + square_y - mean_y**2
    covariance = product - mean_x * mean_y
    luminance = (2.0 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    similar: np.ndarray = luminance * (2.0 * covariance + _C2) / (variances + _C2)
    return similar
