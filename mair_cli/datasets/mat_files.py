"""Camera-noise benchmarks in MATLAB files: the validation blocks of SIDD, and DND's photographs with their boxes.

SIDD (Abdelhamed et al., CVPR 2018): two files of uint8 (40 scenes, 32 blocks, 256, 256, 3). DND (Plötz and Roth, CVPR
2017): `info.mat` and `images_srgb/0001.mat` …, HDF5, 20 boxes in each of 50 photographs, whose truth only its server
has. scipy and h5py, which read them, come with the extra `mat`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Final

import numpy as np

from mair_cli.errors import ImageError, UsageError

__all__ = [
    "SIDD_NOISY",
    "SIDD_TRUTH",
    "Crop",
    "block_count",
    "dnd_crops",
    "dnd_images",
    "is_dnd",
    "read_block",
    "write_bundle",
]

SIDD_NOISY: Final = "ValidationNoisyBlocksSrgb.mat"
SIDD_TRUTH: Final = "ValidationGtBlocksSrgb.mat"
_DND_INFO: Final = "info.mat"
_DND_IMAGES: Final = "images_srgb"


def _package(name: str, what: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(f"{what} needs {name.partition('.')[0]}: pip install 'mair-cli[mat]'") from error


@lru_cache(maxsize=2)
def _blocks(path: Path) -> np.ndarray:
    """All blocks of a file of SIDD: (blocks, side, side, 3) uint8."""
    scipy_io = _package("scipy.io", f"{path.name}, a MATLAB file,")
    try:
        content = scipy_io.loadmat(path)
    except (OSError, ValueError, TypeError, NotImplementedError, scipy_io.matlab.MatReadError) as error:
        raise ImageError(f"{path}: not a MATLAB file that can be read ({error})") from error
    array = content.get(path.stem)
    if not isinstance(array, np.ndarray) or array.ndim != 5 or array.shape[-1] != 3 or array.dtype != np.uint8:
        raise ImageError(f"{path}: it holds no {path.stem} of (scenes, blocks, height, width, 3) bytes")
    blocks: np.ndarray = array.reshape(-1, *array.shape[2:])
    return blocks


def block_count(path: Path) -> int:
    """Number of blocks in a file of SIDD.

    Raises:
        ImageError: it is not such a file.
        UsageError: scipy is missing.
    """
    return len(_blocks(path))


def read_block(path: Path, number: int) -> np.ndarray:
    """A block of a file of SIDD, (H, W, 3) RGB uint8; errors as `block_count`."""
    block: np.ndarray = _blocks(path)[number]
    return block


@dataclass(frozen=True)
class Crop:
    """A box of a photograph, in pixels: rows `top` to `bottom` - 1, columns `left` to `right` - 1."""

    top: int
    left: int
    bottom: int
    right: int


def is_dnd(folder: Path) -> bool:
    """Whether a folder is laid out as DND is."""
    return (folder / _DND_INFO).is_file() and (folder / _DND_IMAGES).is_dir()


def dnd_images(folder: Path) -> list[Path]:
    """The photographs of DND in the order of its boxes."""
    return sorted((folder / _DND_IMAGES).glob("*.mat"))


def dnd_crops(folder: Path) -> list[list[Crop]]:
    """The boxes of each photograph, by its number.

    Raises:
        ImageError: the file cannot be read.
        UsageError: h5py is missing.
    """
    h5py = _package("h5py", f"{_DND_INFO}, a MATLAB file,")
    path = folder / _DND_INFO
    try:
        with h5py.File(path, "r") as file:
            references = file["info"]["boundingboxes"][()].reshape(-1)
            tables = [np.asarray(file[reference]).T.astype(int) for reference in references]
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ImageError(f"{path}: not DND's list of boxes ({error})") from error
    # MATLAB counts from 1, and the last row and column belong to the box.
    return [[Crop(row[0] - 1, row[1] - 1, row[2], row[3]) for row in table.tolist()] for table in tables]


def read_dnd(path: Path, crops: Sequence[Crop]) -> Iterator[np.ndarray]:
    """The parts of one photograph of DND: (H, W, 3) RGB float32 in [0, 1] each; errors as `dnd_crops`."""
    h5py = _package("h5py", f"{path.name}, a MATLAB file,")
    try:
        with h5py.File(path, "r") as file:
            image = np.asarray(file["InoisySRGB"], np.float32).T
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ImageError(f"{path}: not a photograph of DND ({error})") from error
    for crop in crops:
        part = image[crop.top : crop.bottom, crop.left : crop.right]
        if part.shape != (crop.bottom - crop.top, crop.right - crop.left, 3):
            raise ImageError(f"{path}: a box of {_DND_INFO} lies outside of it")
        yield np.ascontiguousarray(part)


def write_bundle(path: Path, restored: Sequence[np.ndarray]) -> None:
    """One photograph's part of what DND's server takes: the restored crops as a cell array, sRGB.

    Raises:
        UsageError: scipy is missing.
        OSError: the file cannot be written.
    """
    from mair_cli.store.atomic import atomic_write

    scipy_io = _package("scipy.io", "DND's bundle")
    cells = np.empty(len(restored), dtype=object)
    cells[:] = [np.asarray(image, np.float32) for image in restored]
    with atomic_write(path) as file:
        scipy_io.savemat(file, {"Idenoised": cells, "israw": False, "eval_version": "1.0"})
