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
from mair_cli.errors import TrainingError, UsageError
from mair_cli.images.io import FORMATS, Animation, convert_depth, read_picture
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
class Source:
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
            raise UsageError(f"no such file or folder of images: {path}")
    kept = sorted(path for path in found if not any(fnmatch(path.name, pattern) for pattern in exclude))
    if not kept:
        raise UsageError(f"no images in {', '.join(places)}" + (" after leaving out `exclude`" if found else ""))
    return kept


def find_pairs(places: Sequence[str], exclude: Sequence[str] = ()) -> list[Source]:
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
    return [Source(targets[partners[name]], given=inputs[name]) for name in sorted(inputs)]


def with_teacher(sources: Sequence[Source], places: Sequence[str]) -> list[Source]:
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


def decode_rgb(path: Path) -> np.ndarray:
    """Read an image as (H, W, 3) uint8 RGB: gray is repeated, alpha dropped, deeper samples rounded to 8 bits.

    Raises ImageError when the file cannot be read, TrainingError when it is an animation.
    """
    picture = read_picture(path)
    if isinstance(picture, Animation):
        raise TrainingError(f"{path} is an animation: leave it out of the training images (data.exclude)")
    color = convert_depth(picture.color, "uint8")
    if color.ndim == 2:
        color = np.repeat(color[:, :, None], 3, axis=2)
    return np.ascontiguousarray(color)


def make_pair(name: str, image: np.ndarray, scale: int) -> ImagePair:
    """Crop `image` ((H, W, 3) uint8) to whole multiples of `scale` and make its input by MATLAB's bicubic."""
    height, width = image.shape[0] // scale * scale, image.shape[1] // scale * scale
    high = np.ascontiguousarray(image[:height, :width])
    low = high if scale == 1 else np.ascontiguousarray(matlab_bicubic(high, Fraction(1, scale)))
    return ImagePair(name, low, high)


def load_pairs(
    sources: Sequence[Source], scale: int, zoom: Sequence[float] = (1.0,), cache: str = "", workers: int = 2
) -> list[ImagePair]:
    """Decode `sources` once, at every size in `zoom`, into pairs; the order is that of `sources`, then of `zoom`.

    With `cache` the arrays are kept in that folder as `.npy` files and mapped into memory, so that sets larger than
    the memory can be used and a later run starts at once. Raises ImageError, or TrainingError when the cache cannot
    be written or sizes do not fit one another.
    """
    jobs = [(source, factor) for source in sources for factor in zoom]
    with ThreadPoolExecutor(workers) as pool:
        pairs = list(pool.map(lambda job: _load(job[0], job[1], scale, cache), jobs))
    pixels = sum(pair.high.shape[0] * pair.high.shape[1] for pair in pairs)
    logger.info("%d images, %.1f megapixels", len(pairs), pixels / 1e6)
    return pairs


def _load(source: Source, factor: float, scale: int, cache: str) -> ImagePair:
    if not cache:
        return _decode(source, factor, scale)
    key = "|".join([str(CACHE_VERSION), *map(_identity, (source.image, source.given, source.teacher))])
    stem = expanded(cache) / hashlib.sha256(f"{key}|{factor}|{scale}".encode()).hexdigest()[:24]
    names = ["high", "low"] + (["teacher"] if source.teacher else [])
    files = [stem.with_suffix(f".{name}.npy") for name in names]
    if not all(file.exists() for file in files):
        pair = _decode(source, factor, scale)
        for file, name in zip(files, names, strict=True):
            _save_array(file, getattr(pair, name))
    arrays = {name: np.load(file, mmap_mode="r", allow_pickle=False) for file, name in zip(files, names, strict=True)}
    return ImagePair(source.image.name, **arrays)


def _identity(path: Path | None) -> str:
    """A file's place, size and date, by which a change is noticed."""
    if path is None:
        return ""
    status = path.stat()
    return f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"


def _decode(source: Source, factor: float, scale: int) -> ImagePair:
    name, image = source.image.name, decode_rgb(source.image)
    if source.given is not None:
        low = decode_rgb(source.given)
        _check_size(source.image, image, (low.shape[0] * scale, low.shape[1] * scale))
        return ImagePair(name, low, image)
    pair = make_pair(name, _zoomed(image, factor), scale)
    if source.teacher is None:
        return pair
    teacher = decode_rgb(source.teacher)
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
