"""The images of a run, split into those to train on and those to measure on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mair_cli.errors import UsageError
from mair_cli.training.config import Settings
from mair_cli.training.images import ImagePair, find_images, load_pairs
from mair_cli.training.validation import central


@dataclass(frozen=True)
class ImageSets:
    """Decoded images: `training` in memory or mapped, `validation` cropped as the settings ask."""

    training: list[ImagePair]
    validation: list[ImagePair]


def split_paths(settings: Settings) -> tuple[list[Path], list[Path]]:
    """Paths to train on and to measure on: `validation.images`, and `validation.holdout` of the training images.

    Raises UsageError when no image is found or none is left to train on.
    """
    paths = find_images(settings.data.images, settings.data.exclude)
    held = settings.validation.holdout
    if held >= len(paths):
        raise UsageError(f"validation.holdout = {held} leaves none of the {len(paths)} images to train on")
    chosen = {paths[i] for i in np.linspace(0, len(paths) - 1, held + 2).round().astype(int)[1:-1]}
    measured = [path for path in paths if path in chosen]
    if settings.validation.images:
        measured = find_images(settings.validation.images, settings.data.exclude) + measured
    return [path for path in paths if path not in chosen], measured


def load_sets(settings: Settings, validate: bool = True) -> ImageSets:
    """Decode all images of a run; with `validate` false, those to measure on are left out."""
    training, measured = split_paths(settings)
    data, scale = settings.data, settings.scale
    pairs = load_pairs(training, scale, data.zoom, data.cache)
    crop = settings.validation.crop
    held = [central(pair, crop, scale) for pair in load_pairs(measured, scale)] if validate else []
    return ImageSets(pairs, held)
