"""Training images, decoded once: each as a pair of arrays, the target and the low-resolution input made from it."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from fractions import Fraction
from pathlib import Path

import numpy as np

from mair_cli.data.image_io import FORMATS, Animation, convert_depth, read_picture
from mair_cli.data.resize import matlab_bicubic
from mair_cli.errors import TrainingError, UsageError

logger = logging.getLogger(__name__)

# Part of the names of cached files: raise it when the arrays made from an image change.
CACHE_VERSION = 1


@dataclass(frozen=True)
class ImagePair:
    """One image as the trainer sees it.

    Attributes:
        name: file name, for messages.
        low: (h, w, 3) uint8 RGB, the input; for denoising the clean image itself.
        high: (h * scale, w * scale, 3) uint8 RGB, the target.
    """

    name: str
    low: np.ndarray
    high: np.ndarray


def find_images(places: Sequence[str], exclude: Sequence[str] = ()) -> list[Path]:
    """All image files in `places` (folders, searched in depth, or files), sorted; `exclude` holds name patterns.

    Raises UsageError for a place that does not exist or when nothing is found.
    """
    found: set[Path] = set()
    for place in places:
        path = Path(place).expanduser()
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
    paths: Sequence[Path], scale: int, zoom: Sequence[float] = (1.0,), cache: str = "", workers: int = 2
) -> list[ImagePair]:
    """Decode `paths` once, at every size in `zoom`, into pairs; the order is that of `paths`, then of `zoom`.

    With `cache` the arrays are kept in that folder as `.npy` files and mapped into memory, so that sets larger than
    the memory can be used and a later run starts at once. Raises ImageError, or TrainingError when the cache cannot
    be written.
    """
    jobs = [(path, factor) for path in paths for factor in zoom]
    with ThreadPoolExecutor(workers) as pool:
        pairs = list(pool.map(lambda job: _load(job[0], job[1], scale, cache), jobs))
    pixels = sum(pair.high.shape[0] * pair.high.shape[1] for pair in pairs)
    logger.info("%d images, %.1f megapixels", len(pairs), pixels / 1e6)
    return pairs


def _load(path: Path, factor: float, scale: int, cache: str) -> ImagePair:
    if not cache:
        return make_pair(path.name, _zoomed(decode_rgb(path), factor), scale)
    status = path.stat()
    key = f"{CACHE_VERSION}|{path.resolve()}|{status.st_size}|{status.st_mtime_ns}|{factor}|{scale}"
    stem = Path(cache).expanduser() / hashlib.sha256(key.encode()).hexdigest()[:24]
    files = stem.with_suffix(".high.npy"), stem.with_suffix(".low.npy")
    if not all(file.exists() for file in files):
        pair = make_pair(path.name, _zoomed(decode_rgb(path), factor), scale)
        for file, array in zip(files, (pair.high, pair.low), strict=True):
            _save_array(file, array)
    high, low = (np.load(file, mmap_mode="r", allow_pickle=False) for file in files)
    return ImagePair(path.name, low, high)


def _zoomed(image: np.ndarray, factor: float) -> np.ndarray:
    if factor == 1.0:
        return image
    return matlab_bicubic(image, Fraction(factor).limit_denominator(1000))


def _save_array(file: Path, array: np.ndarray) -> None:
    """Write under a temporary name and rename: a run that is killed leaves no half-written array."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as stream:
                np.save(stream, array, allow_pickle=False)
            Path(temporary).replace(file)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise TrainingError(f"cannot write the image cache {file.parent}: {error.strerror} (data.cache)") from error
