"""Distinctive spots of an image and what surrounds them, independent of the image's size, crop and brightness.

Spots are extrema of differences of Gaussians over place and scale (Lowe, IJCV 2004). Each is described by a small
normalised picture of its surroundings, as wide as its scale says; since that picture is a square grid, its eight
flips and quarter turns are those of the image, and no orientation has to be found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mair_cli.images.picture import LUMA

SIDE = 12
"""Samples along one side of a description."""
_REACH = 6.0  # half the width of a description, in units of the spot's scale
_SMALLEST = 1.6  # scale of the finest layer in pixels, below which noise and compression rule
_STEPS = 3  # layers per doubling of the scale
_LARGEST_IMAGE = 640  # longer sides are shrunk: finer detail is not needed to recognise a photograph
_SMALLEST_CONTRAST = 0.004  # of a difference of Gaussians, for images in [0, 1]
_SMALLEST_DEVIATION = 0.02  # of a description: flat surroundings resemble everything
_BORDER = 0.5  # share of a description's reach that must lie inside the image


@dataclass(frozen=True)
class Keypoints:
    """Spots of one image.

    Attributes:
        size: (height, width) of the image, pixels.
        position: (P, 2) float64, x and y in pixels of the image.
        scale: (P,) float64, pixels.
        description: (P, SIDE * SIDE) float32, mean 0, norm 1, row by row.
        gray: (h, w) float32 in [0, 1], the image shrunk to at most 640 pixels a side.
    """

    size: tuple[int, int]
    position: np.ndarray
    scale: np.ndarray
    description: np.ndarray
    gray: np.ndarray


def find_keypoints(image: np.ndarray, count: int = 200) -> Keypoints:
    """The `count` strongest spots of an image, (H, W, 3) uint8, spread over all scales."""
    gray = torch.from_numpy(image.astype(np.float32) @ np.array(LUMA, np.float32) / 255)[None, None]
    height, width = image.shape[:2]
    shrink = min(1.0, _LARGEST_IMAGE / max(height, width))
    if shrink < 1:
        size = (max(1, round(height * shrink)), max(1, round(width * shrink)))
        gray = F.interpolate(gray, size, mode="bilinear", antialias=True)
    layers = _layers(gray)
    spots = _extrema(layers)[:count]
    described = [(spot, text) for spot in spots if (text := _describe(layers, spot)) is not None]
    factor = np.array([width / gray.shape[3], height / gray.shape[2]])
    empty = np.zeros((0, 2))
    position = np.array([[x + 0.5, y + 0.5] for (_, y, x), _ in described]) * factor - 0.5 if described else empty
    scale = np.array([_scale(layer) for (layer, _, _), _ in described]) * float(factor.mean())
    description = np.array([text for _, text in described], np.float32).reshape(len(described), SIDE * SIDE)
    return Keypoints((height, width), position, scale, description, gray[0, 0].numpy())


def turned_descriptions(description: np.ndarray, turn: int) -> np.ndarray:
    """Descriptions (P, SIDE²) of the flipped or turned image; `turn`, 0…7, as in `mair_cli.training.patches`."""
    grid = description.reshape(-1, SIDE, SIDE)
    if turn >= 4:
        grid = grid.transpose(0, 2, 1)
    return np.ascontiguousarray(np.rot90(grid, turn % 4, axes=(1, 2))).reshape(len(description), SIDE * SIDE)


def turned_positions(position: np.ndarray, size: tuple[int, int], turn: int) -> np.ndarray:
    """Where positions (P, 2), x and y, of an image of `size` (height, width) lie after `turn`."""
    x, y = position[:, 0], position[:, 1]
    height, width = size
    if turn >= 4:
        x, y, height, width = y, x, width, height
    for _ in range(turn % 4):  # a quarter turn to the left: the right edge becomes the top
        x, y, height, width = y, width - 1 - x, width, height
    return np.stack([x, y], axis=1)


def _scale(layer: int) -> float:
    return float(_SMALLEST * 2 ** (layer / _STEPS))


def _layers(gray: Tensor) -> Tensor:
    """(S, h, w): the image blurred more and more. Blurring on from the layer before keeps the kernels short."""
    largest = min(gray.shape[2:]) / (2 * _REACH * _BORDER) / 2
    count = max(3, 1 + math.ceil(_STEPS * math.log2(max(largest / _SMALLEST, 1.0)))) + 1
    layers, before = [], 0.5  # a photograph is taken to be blurred by half a pixel already
    for layer in range(count):
        gray = _blurred(gray, math.sqrt(_scale(layer) ** 2 - before**2))
        layers.append(gray[0, 0])
        before = _scale(layer)
    return torch.stack(layers)


def _blurred(image: Tensor, deviation: float) -> Tensor:
    radius = min(math.ceil(3 * deviation), min(image.shape[2:]) - 1)
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / deviation) ** 2)
    kernel = kernel / kernel.sum()
    image = F.conv2d(F.pad(image, (radius, radius, 0, 0), mode="reflect"), kernel.view(1, 1, 1, -1))
    return F.conv2d(F.pad(image, (0, 0, radius, radius), mode="reflect"), kernel.view(1, 1, -1, 1))


def _extrema(layers: Tensor) -> list[tuple[int, int, int]]:
    """(layer, y, x) of the extrema of layer differences, strongest first, each scale taking its turn."""
    differences = layers[1:] - layers[:-1]
    strength = differences.abs()
    highest = F.max_pool3d(strength[None, None], 3, stride=1, padding=1)[0, 0]
    found = torch.nonzero((strength == highest) & (strength > _SMALLEST_CONTRAST))
    order = torch.argsort(strength[tuple(found.T)], descending=True)
    by_layer: dict[int, list[tuple[int, int, int]]] = {}
    for layer, y, x in found[order].tolist():
        by_layer.setdefault(layer, []).append((layer, y, x))
    ranked = [(rank, spot) for spots in by_layer.values() for rank, spot in enumerate(spots)]
    return [spot for _, spot in sorted(ranked)]


def _describe(layers: Tensor, spot: tuple[int, int, int]) -> np.ndarray | None:
    """What surrounds a spot, or None where that is flat or lies outside the image."""
    layer, y, x = spot
    height, width = layers.shape[1:]
    reach = _REACH * _scale(layer)
    inside = reach * _BORDER
    if not (inside <= x <= width - 1 - inside and inside <= y <= height - 1 - inside):
        return None
    offsets = np.linspace(-reach, reach, SIDE)
    rows = np.clip(y + offsets, 0, height - 1).round().astype(np.int64)
    columns = np.clip(x + offsets, 0, width - 1).round().astype(np.int64)
    text: np.ndarray = layers[layer].numpy()[np.ix_(rows, columns)].reshape(-1)
    text = text - text.mean()
    norm = float(np.linalg.norm(text))
    return None if norm < _SMALLEST_DEVIATION * SIDE else text / norm
