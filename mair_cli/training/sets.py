"""The images of a run, split into those to train on and those to measure on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mair_cli.errors import UsageError
from mair_cli.training.images import ImagePair, TrainingSource, find_images, find_pairs, load_pairs, with_teacher
from mair_cli.training.recipe import Settings
from mair_cli.training.validation import central


@dataclass(frozen=True)
class ImageSets:
    """Decoded images: `training` in memory or mapped, `validation` cropped as the settings ask."""

    training: list[ImagePair]
    validation: list[ImagePair]


def split_sources(settings: Settings) -> tuple[list[TrainingSource], list[TrainingSource]]:
    """What to train on and what to measure on: images and pairs of `validation`, `holdout` of the training images.

    Raises UsageError when no image is found or none is left to train on.
    """
    data, validation = settings.data, settings.validation
    if data.pairs:
        sources = find_pairs(data.pairs, data.exclude)
    else:
        sources = [TrainingSource(path) for path in find_images(data.images, data.exclude)]
    held = validation.holdout
    if held >= len(sources):
        raise UsageError(f"validation.holdout = {held} leaves none of the {len(sources)} images to train on")
    chosen = set(np.linspace(0, len(sources) - 1, held + 2).round().astype(int)[1:-1].tolist())
    measured = [source for i, source in enumerate(sources) if i in chosen]
    if validation.pairs:
        measured = find_pairs(validation.pairs, data.exclude) + measured
    if validation.images:
        measured = [TrainingSource(path) for path in find_images(validation.images, data.exclude)] + measured
    training = [source for i, source in enumerate(sources) if i not in chosen]
    return with_teacher(training, data.targets), measured


def load_sets(settings: Settings, validate: bool = True, keep: bool = True) -> ImageSets:
    """Decode all images of a run.

    With `validate` false, those to measure on are left out; with `keep` false, only the sizes of the images are true.
    """
    training, measured = split_sources(settings)
    data, scale, gray = settings.data, settings.scale, settings.network.colors == 1
    pairs = load_pairs(training, scale, data.zoom, data.cache, strict=data.strict, keep=keep, gray=gray)
    crop = settings.validation.crop
    held = load_pairs(measured, scale, strict=data.strict, keep=keep, gray=gray) if validate else []
    return ImageSets(pairs, [central(pair, crop, scale) for pair in held])
