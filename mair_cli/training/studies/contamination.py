"""Is a benchmark image among the training images? Compared by content, so that crops, other sizes, flips, turns,
brightness and recompression do not hide it.

Spots that look alike in two images count as evidence only when they agree on one size and place (generalised Hough
transform, as in Lowe, IJCV 2004); then the two images are laid over one another and correlated.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mair_cli.errors import ImageError
from mair_cli.images.io import read_rgb8
from mair_cli.training.patches import turned
from mair_cli.training.studies.keypoints import Keypoints, find_keypoints, turned_descriptions, turned_positions

logger = logging.getLogger(__name__)

TURNS = 8
# Correlation of two descriptions from which on they look alike.
ALIKE = 0.9
# Spots that must agree on size and place before the images themselves are compared.
AGREEING = 4
# Correlation of the laid-over images from which on they show the same: crops that were shrunk or enlarged, turned and
# recompressed come to 0.78 and more (mostly 0.98), the nearest strangers among 176 photographs to 0.42.
SAME = 0.65
# Rounds in which a placement is fitted anew to the spots that it brings together.
_REFITS = 3
# Size of the comparison where the two overlap, pixels a side, and the least overlap in pixels of both images.
_GRID = 32
_LEAST_OVERLAP = 32


@dataclass(frozen=True)
class Match:
    """A training image that shows (part of) a forbidden one.

    Attributes:
        training: file that is trained on.
        forbidden: file that must not be.
        similarity: correlation of the two where they overlap, at most 1.
    """

    training: Path
    forbidden: Path
    similarity: float


def find_contamination(
    training: Sequence[Path], forbidden: Sequence[Path], on_image: Callable[[], None] = lambda: None
) -> list[Match]:
    """Compare every training image with every forbidden image.

    Args:
        training: image files to train on.
        forbidden: image files that must not be among them, such as benchmark sets.
        on_image: called after each file that was looked at.

    Returns:
        The pairs that show the same, in the order of `training`.

    Raises:
        ImageError: one of `forbidden` cannot be read. Such a training image is named and left out.
    """
    known = []
    for path in forbidden:
        known.append(find_keypoints(read_rgb8(path)))
        on_image()
    catalogue = _Catalogue(known)
    matches = []
    for path in training:
        try:
            spots = find_keypoints(read_rgb8(path))
        except ImageError as error:  # nothing is learnt from it either
            logger.warning("left out: %s", error)
            continue
        finally:
            on_image()
        matches += [Match(path, forbidden[i], similarity) for i, similarity in catalogue.look_up(spots)]
    return matches


class _Catalogue:
    """Spots of all forbidden images, side by side for one matrix product per training image and turn."""

    def __init__(self, images: Sequence[Keypoints]) -> None:
        self.images = images
        self.descriptions = np.concatenate([image.description for image in images])
        self.sums = [_integral(image.gray) for image in images]
        counts = [len(image.description) for image in images]
        self.image_of = np.repeat(np.arange(len(images)), counts)
        self.spot_of = np.concatenate([np.arange(count) for count in counts])

    def look_up(self, spots: Keypoints) -> list[tuple[int, float]]:
        """Forbidden images that `spots` shows: index and similarity."""
        best: dict[int, float] = {}
        for turn in range(TURNS):
            our_sums = _integral(turned(spots.gray[:, :, None], turn)[:, :, 0])
            likeness = turned_descriptions(spots.description, turn) @ self.descriptions.T
            ours, theirs = np.nonzero(likeness > ALIKE)
            images = self.image_of[theirs]
            for index in np.unique(images):
                if (images == index).sum() < AGREEING:
                    continue
                pairs = np.stack([ours[images == index], self.spot_of[theirs[images == index]]], axis=1)
                placements = _placements(spots, self.images[index], turn, pairs)
                sums = our_sums, self.sums[index]
                similarity = max((_similarity(placement, *sums) for placement in placements), default=0.0)
                if similarity >= SAME:
                    best[int(index)] = max(similarity, best.get(int(index), 0.0))
        return sorted(best.items())


@dataclass(frozen=True)
class _Placement:
    """How one image may lie on another: `ours = zoom * theirs + offset`, x and y in pixels; sizes: (height, width)."""

    zoom: float
    offset: np.ndarray
    our_size: tuple[int, int]
    their_size: tuple[int, int]


def _placements(ours: Keypoints, theirs: Keypoints, turn: int, pairs: np.ndarray) -> list[_Placement]:
    """Placements of the turned first image on the second that at least `AGREEING` of the spot pairs (P, 2) agree on."""
    a = turned_positions(ours.position, ours.size, turn)[pairs[:, 0]]
    b = theirs.position[pairs[:, 1]]
    log_zoom = np.log2(ours.scale[pairs[:, 0]] / theirs.scale[pairs[:, 1]])
    size = (ours.size[1], ours.size[0]) if (turn % 2 == 1) != (turn >= 4) else ours.size
    found = []
    for i in _hypotheses(log_zoom, a, b):
        zoom = 2 ** log_zoom[i]
        # A spot's scale is known to a third of an octave, its place to a fraction of its scale.
        reach = 0.25 * np.linalg.norm(b - b[i], axis=1) * zoom + 3 * theirs.scale[pairs[:, 1]] * zoom
        agree = (np.abs(log_zoom - log_zoom[i]) < 0.5) & (np.linalg.norm(a - a[i] - zoom * (b - b[i]), axis=1) < reach)
        if min(len(np.unique(pairs[agree, side])) for side in (0, 1)) < AGREEING:
            continue
        fitted, offset = _fit(a[agree], b[agree])
        for _ in range(_REFITS):
            agree = np.linalg.norm(a - fitted * b - offset, axis=1) < theirs.scale[pairs[:, 1]] * fitted
            if fitted <= 0 or agree.sum() < AGREEING:
                break
            fitted, offset = _fit(a[agree], b[agree])
        else:
            found.append(_Placement(fitted, offset, size, theirs.size))
    return found


def _fit(a: np.ndarray, b: np.ndarray) -> tuple[float, np.ndarray]:
    """Zoom and offset that bring points `b` (P, 2) closest to `a`: `a ≈ zoom * b + offset`, least squares."""
    centred = b - b.mean(0)
    zoom = float((centred * a).sum() / max(float((centred**2).sum()), 1e-9))
    return zoom, a.mean(0) - zoom * b.mean(0)


def _hypotheses(log_zoom: np.ndarray, a: np.ndarray, b: np.ndarray, most: int = 24) -> list[int]:
    """Matches to start from: of each group that agrees roughly on zoom and offset one, the largest groups first."""
    zoom = 2 ** log_zoom[:, None]
    span = np.maximum(1.0, np.ptp(a, axis=0)) / 4
    keys = np.concatenate([np.round(log_zoom[:, None]), np.round((a - zoom * b) / span)], axis=1)
    _, first, counts = np.unique(keys, axis=0, return_index=True, return_counts=True)
    return [int(i) for i in first[np.argsort(-counts)][:most]]


def _similarity(placement: _Placement, our_sums: np.ndarray, their_sums: np.ndarray) -> float:
    """Correlation where the images overlap, given their integrals; 0 for too small an overlap."""
    zoom, offset = placement.zoom, placement.offset
    our_end, their_end = (
        np.array([width, height]) - 1.0 for height, width in (placement.our_size, placement.their_size)
    )
    low = np.maximum(offset, 0)
    high = np.minimum(offset + zoom * their_end, our_end)
    if min(high - low) < _LEAST_OVERLAP * max(1.0, zoom):
        return 0.0
    places = [np.linspace(low[axis], high[axis], _GRID + 1) for axis in (0, 1)]
    first = _cells(our_sums, placement.our_size, places)
    second = _cells(their_sums, placement.their_size, [(places[axis] - offset[axis]) / zoom for axis in (0, 1)])
    return _correlation(first, second)


def _integral(gray: np.ndarray) -> np.ndarray:
    """(h + 1, w + 1) float64: sums of all pixels above and to the left."""
    sums = np.zeros((gray.shape[0] + 1, gray.shape[1] + 1))
    sums[1:, 1:] = gray.cumsum(0, dtype=np.float64).cumsum(1)
    return sums


def _cells(integral: np.ndarray, size: tuple[int, int], places: Sequence[np.ndarray]) -> np.ndarray:
    """Means of the cells of a grid whose lines lie at `places` (x, then y) in pixels of an image of `size`."""
    height, width = integral.shape[0] - 1, integral.shape[1] - 1
    columns = ((places[0] + 0.5) * width / size[1]).clip(0, width)
    rows = ((places[1] + 0.5) * height / size[0]).clip(0, height)
    sums = _at(_at(integral, rows).T, columns).T
    areas = np.diff(rows)[:, None] * np.diff(columns)[None]
    means: np.ndarray = np.diff(np.diff(sums, axis=0), axis=1) / areas
    return means


def _at(table: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of `table` at fractional places, linearly between two."""
    lower = np.minimum(rows.astype(np.int64), len(table) - 2)
    share = (rows - lower)[:, None]
    between: np.ndarray = table[lower] * (1 - share) + table[lower + 1] * share
    return between


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of the slopes of two grids; their levels alone would make any two soft shadows alike."""
    a, b = (np.concatenate([np.diff(grid, axis=axis).ravel() for axis in (0, 1)]) for grid in (a, b))
    a, b = (np.sign(slope) * np.sqrt(np.abs(slope)) for slope in (a, b))  # lest one strong edge decide
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norms if norms > 0 else 0.0
