"""Motion blur made on purpose: what a sensor sees while the camera moves along a random path.

The path is that of a particle with inertia, pushed at random (after Boracchi and Foi, "Modeling the performance of
image restoration from motion blur", 2012): its velocity is an Ornstein-Uhlenbeck process. It goes in two directions and
a rotation, so that blur differs over the image. Light adds up before the camera's tone curve, so images are averaged
with the curve taken off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

__all__ = ["CameraPath", "blur", "random_path"]

GAMMA: Final = 2.2
"""The tone curve, as deblurring papers take it."""
_STEPS: Final = 256


@dataclass(frozen=True)
class CameraPath:
    """Positions of a camera while the shutter is open; their mean is at rest.

    Attributes:
        shift: (T, 2) rows and columns, in pixels.
        angle: (T,) turn about the middle of the image, in radians.
    """

    shift: np.ndarray
    angle: np.ndarray


def random_path(rng: np.random.Generator, extent: float, rotation: float, inertia: float) -> CameraPath:
    """Draw a path.

    Args:
        rng: draws it.
        extent: distance between its outermost points along a row or column, in pixels.
        rotation: the same for the turn, in radians.
        inertia: how long a direction lasts, as a multiple of the exposure: 0.1 is a trembling hand, 3 nearly a straight
            line. Above 0.
    """
    kept = math.exp(-1 / (inertia * _STEPS))
    pushes = rng.normal(size=(_STEPS, 3)) * math.sqrt(1 - kept**2)
    velocity, velocities = rng.normal(size=3), []
    for push in pushes:
        velocity = velocity * kept + push
        velocities.append(velocity)
    path = np.cumsum(velocities, axis=0)
    spread = np.ptp(path, axis=0)
    path[:, :2] *= extent / max(float(spread[:2].max()), 1e-9)
    path[:, 2] *= rotation / max(float(spread[2]), 1e-9)
    # A blurred picture does not tell which moment of the exposure its ground truth shows; its centre of light it does
    # tell. With any other point at rest there would be shifts to guess, which cost more than all blur.
    path -= path.mean(axis=0)
    return CameraPath(path[:, :2], path[:, 2])


def blur(image: np.ndarray, path: CameraPath) -> np.ndarray:
    """Average an image over a path.

    Args:
        image: (H, W, 3) RGB uint8; beyond its edges the outermost pixels go on.
        path: of the camera.

    Returns:
        The same shape and type. What stays in place is the mean of the path: `image` itself is the ground truth.
    """
    height, width = image.shape[:2]
    # Positions half a pixel apart, on the average, at the image's corners give a smooth result.
    reach = np.abs(path.shift).max() + np.abs(path.angle).max() * math.hypot(height, width) / 2
    margin = math.ceil(reach) + 1
    travelled = (
        np.hypot(*np.diff(path.shift, axis=0).T).sum() + np.abs(np.diff(path.angle)).sum() * max(height, width) / 2
    )
    count = min(len(path.angle), 2 * math.ceil(travelled) + 1)
    light = np.pad((image / np.float32(255)) ** np.float32(GAMMA), ((margin, margin), (margin, margin), (0, 0)), "edge")
    planes = [Image.fromarray(np.ascontiguousarray(light[:, :, channel])) for channel in range(3)]
    total = np.zeros((height, width, 3))
    for step in np.linspace(0, len(path.angle) - 1, count).round().astype(int):
        (down, across), angle = path.shift[step], float(path.angle[step])
        matrix = _seen_from(height, width, margin, float(down), float(across), angle)
        for channel, plane in enumerate(planes):
            moved = plane.transform((width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
            total[:, :, channel] += np.asarray(moved)
    mean = (total / count) ** (1 / GAMMA)
    blurred: np.ndarray = np.rint(mean.clip(0, 1) * 255).astype(np.uint8)
    return blurred


def _seen_from(height: int, width: int, margin: int, down: float, across: float, angle: float) -> tuple[float, ...]:
    """Pillow's six numbers: where in the padded image each pixel of the result comes from."""
    cosine, sine = math.cos(angle), math.sin(angle)
    y, x = height / 2, width / 2
    return (
        cosine, -sine, x - cosine * x + sine * y + across + margin,
        sine, cosine, y - sine * x - cosine * y + down + margin,
    )  # fmt: skip
