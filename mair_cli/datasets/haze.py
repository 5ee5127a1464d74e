"""Haze made on purpose, by the scattering model over a made-up depth (Koschmieder, 1924; as RESIDE, 2019, uses it).

    I = J · t + A · (1 − t),    t = exp(−β · d)

J the clear image, A the airlight, β the density, d the depth. Photographs come without depth, so it is made up: farther
towards the top, as over a plain, with smooth hills and hollows. `along_outlines` lets it jump where the image does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

__all__ = ["USUAL_DENSITY", "Haze", "add_haze", "along_outlines", "made_up_depth", "random_haze"]

USUAL_DENSITY: Final = (0.6, 2.0)
"""From thin to dense."""
_RADIUS: Final = 20
"""Of the guided filter, in pixels."""
_FLAT: Final = 2e-3
"""Variance of brightness in a square below which the filter smooths."""


@dataclass(frozen=True)
class Haze:
    """Density β for depths from 0 to 1, and airlight (3,) RGB in [0, 1]."""

    density: float
    airlight: np.ndarray


def random_haze(rng: np.random.Generator, density: tuple[float, float] = USUAL_DENSITY) -> Haze:
    """Draw a haze: its density between two limits, its airlight from gray to white with a slight tint."""
    light = rng.uniform(0.7, 1.0) + rng.normal(0, 0.015, 3)
    return Haze(float(rng.uniform(*density)), light.clip(0.6, 1.0).astype(np.float32))


def made_up_depth(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A smooth depth, (H, W) float32 from 0 to 1.

    Args:
        rng: draws it.
        height: rows.
        width: columns.
    """
    horizon = np.linspace(1, 0, height, dtype=np.float32)[:, None] ** np.float32(rng.uniform(0.5, 2.0))
    depth: np.ndarray = np.float32(rng.uniform(0.2, 1.0)) * np.broadcast_to(horizon, (height, width))
    for side, weight in ((3, 0.6), (6, 0.3)):
        coarse = rng.random((side, side), dtype=np.float32)
        smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        depth = depth + np.float32(weight) * np.asarray(smooth)
    return _from_0_to_1(depth)


def along_outlines(depth: np.ndarray, image: np.ndarray, brightness: float) -> np.ndarray:
    """A depth whose jumps are those of an image, by its guided filter (He, Sun and Tang, ECCV 2010).

    Args:
        depth: (H, W) float32, smooth, from 0 to 1.
        image: (H, W, 3) RGB uint8.
        brightness: how much farther white is than black; negative: nearer.

    Returns:
        (H, W) float32, from 0 to 1.
    """
    guide = image.mean(axis=-1, dtype=np.float32) / np.float32(255)
    wanted = depth + np.float32(brightness) * guide
    mean_guide, mean_wanted = _box_mean(guide), _box_mean(wanted)
    variance = _box_mean(guide * guide) - mean_guide**2
    slope = (_box_mean(guide * wanted) - mean_guide * mean_wanted) / (variance + _FLAT)
    return _from_0_to_1(_box_mean(slope) * guide + _box_mean(mean_wanted - slope * mean_guide))


def _box_mean(plane: np.ndarray) -> np.ndarray:
    """Mean over the square around each pixel, as far as it lies in the plane; first down, then across."""
    mean = torch.from_numpy(plane).double()[None, None]
    for side in ((2 * _RADIUS + 1, 1), (1, 2 * _RADIUS + 1)):
        mean = F.avg_pool2d(mean, side, stride=1, padding=(side[0] // 2, side[1] // 2), count_include_pad=False)
    return mean[0, 0].numpy()


def _from_0_to_1(depth: np.ndarray) -> np.ndarray:
    low, high = float(depth.min()), float(depth.max())
    scaled: np.ndarray = ((depth - low) / max(high - low, 1e-6)).astype(np.float32)
    return scaled


def add_haze(image: np.ndarray, depth: np.ndarray, haze: Haze) -> np.ndarray:
    """See through haze.

    Args:
        image: (H, W, 3) RGB uint8, clear.
        depth: (H, W), from 0 to 1; a little more is between the camera and depth 0.
        haze: what lies between.

    Returns:
        The same shape and type.
    """
    through = np.exp(-np.float32(haze.density) * (depth + np.float32(0.1)))[:, :, None]
    hazy = image / np.float32(255) * through + haze.airlight * (1 - through)
    rounded: np.ndarray = np.rint(hazy.clip(0, 1) * 255).astype(np.uint8)
    return rounded
