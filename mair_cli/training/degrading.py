"""Draws what happens to each input patch: the random counterpart of `mair_cli.datasets.degradations`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from mair_cli.datasets.degradations import JPEG_GRID, Kernel, Subsampling, add_noise, compress, reduce_image
from mair_cli.networks.levels import jpeg_level, noise_level
from mair_cli.training.recipe import DegradationSettings

# Pixels of the large image that an antialiasing filter of Pillow reaches beyond its block, per unit of scale: Lanczos.
REACH = 3


@dataclass(frozen=True)
class Drawn:
    """What was drawn for one patch.

    Attributes:
        kernel: filter that makes it small.
        sigma: noise, standard deviation of 255; 0 for none.
        qualities: of the JPEGs it goes through, in order; empty, one or two.
        subsampling: of their colour.
        phase: rows and columns between the JPEG's own corner and the patch.
    """

    kernel: Kernel
    sigma: float
    qualities: tuple[int, ...]
    subsampling: Subsampling
    phase: tuple[int, int]

    @property
    def levels(self) -> tuple[float, float]:
        """Noise level and JPEG level, as a network is told: the true noise, the last quality."""
        return noise_level(self.sigma), jpeg_level(self.qualities[-1] if self.qualities else None)


def draw(settings: DegradationSettings, rng: np.random.Generator) -> Drawn:
    """Draw one patch's degradation. Each decision is drawn, needed or not, so that settings do not shift the others."""
    kernel = _one_of(settings.kernels, settings.kernel_shares, rng.random())
    clean, noisy, compressed, twice, color = rng.random(5)
    sigma = _between(settings.noise, rng.random())
    first, last = (_quality(settings.jpeg, rng.random()) for _ in range(2))
    row, column = (int(value) for value in rng.integers(JPEG_GRID, size=2))
    is_clean = clean < settings.clean_share
    is_noisy = bool(settings.noise) and not is_clean and noisy < settings.noise_share
    share = settings.jpeg_after_noise_share if is_noisy else settings.jpeg_share
    is_jpeg = bool(settings.jpeg) and not is_clean and compressed < share
    qualities = ((first, last) if twice < settings.twice_share else (last,)) if is_jpeg else ()
    return Drawn(
        kernel,
        sigma if is_noisy else 0.0,
        qualities,
        _one_of(settings.subsampling, settings.subsampling_shares, color),
        (row, column) if is_jpeg else (0, 0),
    )


def degraded_patch(
    low: np.ndarray, high: np.ndarray, corner: tuple[int, int], side: int, drawn: Drawn, rng: np.random.Generator
) -> np.ndarray:
    """Cut an input patch and do to it what was drawn.

    Args:
        low: (h, w, 3) uint8, the whole image made small by MATLAB's bicubic.
        high: (h * scale, w * scale, 3) uint8, the image itself, from which other kernels start.
        corner: row and column of the patch in `low`.
        side: of the patch.
        drawn: what to do.
        rng: draws the noise.

    Returns:
        (side, side, 3) uint8, or float32 around [0, 1] where noise comes last.
    """
    # The compression sees a little more of the image above and to the left, so that its grid has the drawn phase.
    top, left = (max(0, at - shift) for at, shift in zip(corner, drawn.phase, strict=True))
    bottom, right = corner[0] + side, corner[1] + side
    if drawn.kernel == "bicubic":
        patch = low[top:bottom, left:right]
    else:
        patch = _reduced(low, high, (top, left, bottom, right), drawn.kernel)
    if drawn.sigma:
        patch = add_noise(patch, drawn.sigma, rng)
    for quality in drawn.qualities:
        patch = compress(patch, quality, drawn.subsampling)
    return patch[corner[0] - top :, corner[1] - left :]


def _reduced(low: np.ndarray, high: np.ndarray, box: tuple[int, int, int, int], kernel: Kernel) -> np.ndarray:
    """The part `box` (top, left, bottom, right, in small pixels) of what `kernel` makes of `high`, with its margin."""
    scale = high.shape[0] // low.shape[0]
    top, left, bottom, right = box
    y0, x0 = max(0, top - REACH), max(0, left - REACH)
    y1, x1 = min(low.shape[0], bottom + REACH), min(low.shape[1], right + REACH)
    small = reduce_image(np.ascontiguousarray(high[y0 * scale : y1 * scale, x0 * scale : x1 * scale]), scale, kernel)
    return small[top - y0 : bottom - y0, left - x0 : right - x0]


Name = TypeVar("Name", bound=str)


def _one_of(names: tuple[Name, ...], shares: tuple[float, ...], chance: float) -> Name:
    place = int(np.searchsorted(np.cumsum(shares), chance, side="right"))
    return names[min(place, len(names) - 1)]


def _between(limits: tuple[float, ...], chance: float) -> float:
    return limits[0] + (limits[-1] - limits[0]) * chance if limits else 0.0


def _quality(limits: tuple[int, ...], chance: float) -> int:
    return int(limits[0] + (limits[-1] - limits[0] + 1) * chance) if limits else 0
