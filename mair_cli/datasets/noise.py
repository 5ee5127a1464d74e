"""The seeded Gaussian noise of the published denoising tests."""

from __future__ import annotations

import numpy as np

from mair_cli.errors import UsageError

__all__ = ["add_published_noise", "published_noise"]


def published_noise(height: int, width: int, sigma: float, seed: int = 0) -> np.ndarray:
    """Gaussian noise of the published test protocol.

    NumPy's legacy generator, seeded anew for every image, draws `N(0, sigma / 255)` in the shape (H, W, 3) *in BGR
    order*, because the published code reads images that way; it is turned round here.

    Args:
        height: rows.
        width: columns.
        sigma: noise level in units of 1/255, at least 0.
        seed: of the generator; the published protocol uses 0 for every image.

    Returns:
        (H, W, 3) float64 in RGB order, for images in [0, 1].

    Raises:
        UsageError: a negative sigma.
    """
    if sigma < 0:
        raise UsageError(f"a noise level cannot be negative: {sigma}")
    drawn: np.ndarray = np.random.RandomState(seed).normal(0.0, sigma / 255.0, (height, width, 3))
    return drawn[:, :, ::-1]


def add_published_noise(image: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    """The noisy input that the published protocol makes of a clean image: neither clipped nor rounded.

    Args:
        image: (H, W, 3) RGB or (H, W) gray, uint8. Gray is spread to three equal channels, as the published code reads.
        sigma: noise level in units of 1/255.
        seed: see `published_noise`.

    Returns:
        (H, W, 3) float32 RGB, around [0, 1].
    """
    color = image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
    noise = published_noise(color.shape[0], color.shape[1], sigma, seed)
    # float32 before and after the sum in float64: exactly the published order of roundings.
    noisy: np.ndarray = (color.astype(np.float32) / np.float32(255.0) + noise).astype(np.float32)
    return noisy
