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

__all__ = ["GAMMA", "CameraPath", "MovingObject", "blur", "random_outline", "random_path", "with_object"]

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


@dataclass(frozen=True)
class MovingObject:
    """Something that moves before the scene.

    Attributes:
        image: (H, W, 3) RGB uint8, what it looks like.
        cover: (H, W) float32 from 0 to 1, where it is.
        path: of the camera, seen from the object.
    """

    image: np.ndarray
    cover: np.ndarray
    path: CameraPath


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


def random_outline(rng: np.random.Generator, height: int, width: int, share: float) -> np.ndarray:
    """Where an object of a smooth, made-up outline covers what is behind it.

    Args:
        rng: draws it.
        height: rows.
        width: columns.
        share: of the picture that is covered, from 0 to 1.

    Returns:
        (H, W) float32, from 0 to 1, with a soft edge of about two pixels.
    """
    coarse = Image.fromarray(rng.random((5, 5), dtype=np.float32))
    hills = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    steepness = 0.6 * min(height, width)
    cover: np.ndarray = 1 / (1 + np.exp(np.float32(-steepness) * (hills - np.quantile(hills, 1 - share))))
    return cover.astype(np.float32)


def blur(image: np.ndarray, path: CameraPath, thing: MovingObject | None = None, gamma: float = GAMMA) -> np.ndarray:
    """Average an image over a path.

    Args:
        image: (H, W, 3) RGB uint8; beyond its edges the outermost pixels go on.
        path: of the camera.
        thing: that moves before it, on a path of its own.
        gamma: tone curve; 1 averages as if there were none.

    Returns:
        The same shape and type. What stays in place is the mean of the path: `with_object(image, thing, gamma)` is the
        ground truth, `image` itself without a thing.
    """
    height, width = image.shape[:2]
    paths = [path] if thing is None else [path, thing.path]
    margin = max(_reach(each, height, width) for each in paths)
    count = max(_count(each, height, width) for each in paths)
    scene = _planes(_light(image, gamma), margin)
    moving = None if thing is None else (_planes(_covering(thing, gamma), margin), thing.path)
    total = np.zeros((height, width, 3))
    for step in np.linspace(0, len(path.angle) - 1, count).round().astype(int):
        light = _view(scene, path, step, height, width, margin)
        total += light if moving is None else _behind(light, _view(*moving, step, height, width, margin))
    return _tones(total / count, gamma)


def with_object(image: np.ndarray, thing: MovingObject, gamma: float = GAMMA) -> np.ndarray:
    """A thing before an image, both at rest; arguments and result as those of `blur`."""
    return _tones(_behind(_light(image, gamma), _covering(thing, gamma)), gamma)


def _light(image: np.ndarray, gamma: float) -> np.ndarray:
    light: np.ndarray = (image / np.float32(255)) ** np.float32(gamma)
    return light


def _tones(light: np.ndarray, gamma: float) -> np.ndarray:
    tones: np.ndarray = np.rint(light.clip(0, 1) ** (1 / gamma) * 255).astype(np.uint8)
    return tones


def _covering(thing: MovingObject, gamma: float) -> np.ndarray:
    """(H, W, 4): its light, as much as it covers, and the cover."""
    cover = thing.cover[:, :, None]
    return np.concatenate([_light(thing.image, gamma) * cover, cover], axis=-1)


def _behind(light: np.ndarray, covering: np.ndarray) -> np.ndarray:
    """What is seen of a scene's light, and what covers it."""
    seen: np.ndarray = light * (1 - covering[:, :, 3:]) + covering[:, :, :3]
    return seen


def _planes(light: np.ndarray, margin: int) -> list[Image.Image]:
    padded = np.pad(light, ((margin, margin), (margin, margin), (0, 0)), "edge")
    return [Image.fromarray(np.ascontiguousarray(padded[:, :, channel])) for channel in range(padded.shape[2])]


def _view(planes: list[Image.Image], path: CameraPath, step: int, height: int, width: int, margin: int) -> np.ndarray:
    """(H, W, planes) as seen at one step of a path."""
    (down, across), angle = path.shift[step], float(path.angle[step])
    matrix = _seen_from(height, width, margin, float(down), float(across), angle)
    size, kind, filtered = (width, height), Image.Transform.AFFINE, Image.Resampling.BILINEAR
    return np.stack([np.asarray(plane.transform(size, kind, matrix, filtered)) for plane in planes], axis=-1)


def _reach(path: CameraPath, height: int, width: int) -> int:
    """Pixels beyond the edges that are seen, and one."""
    turned = float(np.abs(path.angle).max()) * math.hypot(height, width) / 2
    return math.ceil(float(np.abs(path.shift).max()) + turned) + 1


def _count(path: CameraPath, height: int, width: int) -> int:
    """Positions half a pixel apart, on the average, at the image's corners give a smooth result."""
    shifted = float(np.hypot(*np.diff(path.shift, axis=0).T).sum())
    travelled = shifted + float(np.abs(np.diff(path.angle)).sum()) * max(height, width) / 2
    return min(len(path.angle), 2 * math.ceil(travelled) + 1)


def _seen_from(height: int, width: int, margin: int, down: float, across: float, angle: float) -> tuple[float, ...]:
    """Pillow's six numbers: where in the padded image each pixel of the result comes from."""
    cosine, sine = math.cos(angle), math.sin(angle)
    y, x = height / 2, width / 2
    return (
        cosine, -sine, x - cosine * x + sine * y + across + margin,
        sine, cosine, y - sine * x - cosine * y + down + margin,
    )  # fmt: skip
