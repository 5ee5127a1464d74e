"""Training images, decoded once: each as a pair of arrays, the target and the low-resolution input made from it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from fractions import Fraction
from pathlib import Path

import numpy as np

from mair_cli.datasets.resize import matlab_bicubic
from mair_cli.errors import ImageError, TrainingError, UsageError
from mair_cli.images.io import FORMATS, read_rgb8
from mair_cli.images.picture import LUMA
from mair_cli.store.atomic import atomic_write
from mair_cli.store.files import disk_errors_as
from mair_cli.store.paths import expanded

logger = logging.getLogger(__name__)

# Part of the names of cached files: raise it when the arrays made from an image change.
CACHE_VERSION = 2


@dataclass(frozen=True)
class ImagePair:
    """One image as the trainer sees it.

    Attributes:
        name: file name, for messages.
        low: (h, w, 3) uint8 RGB, the input; for denoising the clean image itself.
        high: (h * scale, w * scale, 3) uint8 RGB, the target.
        teacher: like `high`, another network's output for `low`; None without one.
    """

    name: str
    low: np.ndarray
    high: np.ndarray
    teacher: np.ndarray | None = None


@dataclass(frozen=True)
class TrainingSource:
    """Files that one training image is made from.

    Attributes:
        image: the target; the input is made from it where `given` is None.
        given: the input, for pairs.
        teacher: another network's output, to learn from instead of the target.
    """

    image: Path
    given: Path | None = None
    teacher: Path | None = None


def find_images(places: Sequence[str], exclude: Sequence[str] = ()) -> list[Path]:
    """All image files in `places` (folders, searched in depth, or files), sorted; `exclude` holds name patterns.

    Raises UsageError for a place that does not exist or when nothing is found.
    """
    found: set[Path] = set()
    for place in places:
        path = expanded(place)
        if path.is_file():
            found.add(path)
        elif path.is_dir():
            found.update(item for item in path.rglob("*") if item.suffix.lower() in FORMATS and item.is_file())
        else:
            what = "neither a file nor a folder" if path.exists() else "no such file or folder of images"
            raise UsageError(f"{what}: {path}")
    kept = sorted(path for path in found if not any(fnmatch(path.name, pattern) for pattern in exclude))
    if not kept:
        raise UsageError(f"no images in {', '.join(places)}" + (" after leaving out `exclude`" if found else ""))
    return kept


def find_pairs(places: Sequence[str], exclude: Sequence[str] = ()) -> list[TrainingSource]:
    """Pairs of a folder of inputs and one of targets, matched by name without its ending, sorted by input.

    An input without a target of its name goes with that of what stands before its first underscore, as sets of haze
    have it: `0001_0.8_0.2` with `0001`.

    Raises UsageError when a folder is missing or empty, names are ambiguous, or an image has no partner.
    """
    inputs, targets = (_by_name([place], exclude) for place in places)
    partners = {name: name if name in targets else name.partition("_")[0] for name in inputs}
    lonely = sorted(set(partners.values()) ^ targets.keys())
    if lonely:
        raise UsageError(
            f"data.pairs: {len(lonely)} images have no partner of the same name, such as {lonely[0]!r} "
            f"({places[0]}: {len(inputs)} images, {places[1]}: {len(targets)})"
        )
    return [TrainingSource(targets[partners[name]], given=inputs[name]) for name in sorted(inputs)]


def with_teacher(sources: Sequence[TrainingSource], places: Sequence[str]) -> list[TrainingSource]:
    """Add to each source the file of its name in `places`; raises UsageError when one is missing."""
    if not places:
        return list(sources)
    taught = _by_name(places, ())
    missing = [source.image for source in sources if source.image.stem not in taught]
    if missing:
        raise UsageError(
            f"data.targets: nothing for {len(missing)} of {len(sources)} images, such as {missing[0].name}"
        )
    return [replace(source, teacher=taught[source.image.stem]) for source in sources]


def _by_name(places: Sequence[str], exclude: Sequence[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in find_images(places, exclude):
        other = found.setdefault(path.stem, path)
        if other != path:
            raise UsageError(f"{other} and {path} have the same name: which of them is meant?")
    return found


def make_pair(name: str, image: np.ndarray, scale: int) -> ImagePair:
    """Crop `image` ((H, W, 3) uint8) to whole multiples of `scale` and make its input by MATLAB's bicubic."""
    height, width = image.shape[0] // scale * scale, image.shape[1] // scale * scale
    high = np.ascontiguousarray(image[:height, :width])
    low = high if scale == 1 else np.ascontiguousarray(matlab_bicubic(high, Fraction(1, scale)))
    return ImagePair(name, low, high)


def load_pairs(
    sources: Sequence[TrainingSource],
    scale: int,
    zoom: Sequence[float] = (1.0,),
    cache: str = "",
    workers: int = 2,
    strict: bool = True,
    keep: bool = True,
    gray: bool = False,
) -> list[ImagePair]:
    """Decode `sources` once, at every size in `zoom`, into pairs; the order is that of `sources`, then of `zoom`.

    Args:
        sources: the files.
        scale: target pixels per input pixel.
        zoom: sizes relative to the original.
        cache: a folder in which the arrays are kept as `.npy` files and mapped into memory, so that sets larger than
            the memory can be used and a later run starts at once; empty for none.
        workers: threads.
        strict: whether a file that cannot be read, or is an animation, is an error; else it is named and left out.
        keep: whether the pixels are wanted; else only the sizes are true.
        gray: whether images are turned into gray ones, of three equal channels.

    Raises:
        ImageError: a file cannot be read, with `strict`.
        TrainingError: sizes do not fit one another, the cache cannot be written, or no image is left.
    """

    def load(job: tuple[TrainingSource, float]) -> ImagePair | None:
        try:
            pair = _load(*job, scale, cache if keep else "", gray)
        except ImageError as error:
            if strict:
                raise
            if job[1] == zoom[0]:
                logger.warning("left out: %s", error)
            return None
        return pair if keep else _without_pixels(pair)

    jobs = [(source, factor) for source in sources for factor in zoom]
    with ThreadPoolExecutor(workers) as pool:
        pairs = [pair for pair in pool.map(load, jobs) if pair is not None]
    if jobs and not pairs:
        raise TrainingError(f"none of {len(sources)} images can be used, such as {sources[0].image}")
    pixels = sum(pair.high.shape[0] * pair.high.shape[1] for pair in pairs)
    logger.info("%d images, %.1f megapixels", len(pairs), pixels / 1e6)
    return pairs


def _load(source: TrainingSource, factor: float, scale: int, cache: str, gray: bool) -> ImagePair:
    if not cache:
        return _decode(source, factor, scale, gray)
    key = "|".join([str(CACHE_VERSION), *map(_identity, (source.image, source.given, source.teacher))])
    stem = (
        expanded(cache) / hashlib.sha256(f"{key}|{factor}|{scale}{'|gray' if gray else ''}".encode()).hexdigest()[:24]
    )
    names = ["high", "low"] + (["teacher"] if source.teacher else [])
    files = [stem.with_suffix(f".{name}.npy") for name in names]
    if not all(file.exists() for file in files):
        pair = _decode(source, factor, scale, gray)
        for file, name in zip(files, names, strict=True):
            _save_array(file, getattr(pair, name))
    arrays = {name: np.load(file, mmap_mode="r", allow_pickle=False) for file, name in zip(files, names, strict=True)}
    return ImagePair(source.image.name, **arrays)


def _without_pixels(pair: ImagePair) -> ImagePair:
    """A pair of the same sizes that takes no memory."""
    low, high = (np.broadcast_to(np.uint8(0), image.shape) for image in (pair.low, pair.high))
    return ImagePair(pair.name, low, high)


def _identity(path: Path | None) -> str:
    """A file's place, size and date, by which a change is noticed."""
    if path is None:
        return ""
    status = path.stat()
    return f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"


def _read(path: Path, gray: bool) -> np.ndarray:
    image = read_rgb8(path)
    if not gray:
        return image
    luma = np.rint(image @ np.array(LUMA)).astype(np.uint8)
    return np.repeat(luma[:, :, None], 3, axis=2)


def _decode(source: TrainingSource, factor: float, scale: int, gray: bool) -> ImagePair:
    name, image = source.image.name, _read(source.image, gray)
    if source.given is not None:
        low = _read(source.given, gray)
        _check_size(source.image, image, (low.shape[0] * scale, low.shape[1] * scale))
        return ImagePair(name, low, image)
    pair = make_pair(name, _zoomed(image, factor), scale)
    if source.teacher is None:
        return pair
    teacher = _read(source.teacher, gray)
    _check_size(source.teacher, teacher, pair.high.shape[:2])
    return replace(pair, teacher=teacher)


def _check_size(path: Path, image: np.ndarray, wanted: tuple[int, ...]) -> None:
    if image.shape[:2] != wanted:
        raise TrainingError(
            f"{path} has {image.shape[1]}x{image.shape[0]} pixels; {wanted[1]}x{wanted[0]} go with its input"
        )


def _zoomed(image: np.ndarray, factor: float) -> np.ndarray:
    if factor == 1.0:
        return image
    return matlab_bicubic(image, Fraction(factor).limit_denominator(1000))


def _save_array(file: Path, array: np.ndarray) -> None:
    """Write an array to the image cache; raises TrainingError when that fails."""
    what = f"cannot write the image cache {file.parent}"
    with disk_errors_as(TrainingError, what, " (data.cache)"), atomic_write(file) as stream:
        np.save(stream, array, allow_pickle=False)
