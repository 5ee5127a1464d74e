"""Where fetched files live, and which weights are there. Free of torch.

    CACHE/weights/NAME.safetensors   published weights, checked and converted; its metadata says from what
    CACHE/weights/hashes/NAME.json   the SHA-256 first seen of each published file (see `hashes`)
    CACHE/locks/NAME.lock            held while the weights are fetched

CACHE is `mair_cli.store.paths.cache_dir`.
"""

from __future__ import annotations

import os
from pathlib import Path

from mair_cli.store.paths import cache_dir
from mair_cli.weights.catalog import ModelEntry

__all__ = [
    "BUNDLED_DIR",
    "is_available",
    "weights_dir",
    "weights_file",
]

BUNDLED_DIR = Path(__file__).parent / "bundled"


def weights_dir() -> Path:
    """Folder of converted published weights. May not exist yet."""
    return cache_dir() / "weights"


def weights_file(entry: ModelEntry) -> Path:
    """The one place where the entry's weights belong, whether or not they are there."""
    folder = BUNDLED_DIR if entry.origin == "bundled" else weights_dir()
    return folder / f"{entry.name}.safetensors"


def is_available(entry: ModelEntry) -> bool:
    """Whether the entry's weights are on this machine: shipped with the package, or fetched before."""
    return os.path.isfile(weights_file(entry))  # noqa: PTH113  (Path's own raises where a folder cannot be entered)
