"""Haze made on purpose, by the scattering model over a made-up depth (Koschmieder, 1924; as RESIDE, 2019, uses it).

    I = J · t + A · (1 − t),    t = exp(−β · d)

J the clear image, A the airlight, β the density, d the depth. Photographs come without depth, so it is made up: farther
towards the top, as over a plain, with smooth hills and hollows. Objects do not stand out in it as they would in truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

__all__ = ["Haze", "add_haze", "made_up_depth", "random_haze"]


@dataclass(frozen=True)
class Haze:
    """Density β for depths from 0 to 1, and airlight (3,) RGB in [0, 1]."""

    density: float
    airlight: np.ndarray


def random_haze(rng: np.random.Generator) -> Haze:
    """Draw a haze: from thin to dense, from gray to white with a slight tint."""
    light = rng.uniform(0.7, 1.0) + rng.normal(0, 0.015, 3)
    return Haze(float(rng.uniform(0.6, 2.0)), light.clip(0.6, 1.0).astype(np.float32))


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
