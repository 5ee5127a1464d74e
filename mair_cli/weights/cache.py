"""Where fetched files live, and which weights are there. Free of torch.

    CACHE/weights/NAME.safetensors   published weights, checked and converted; its metadata says from what
    CACHE/weights/hashes/FILE.json   the SHA-256 first seen of each published file (see `hashes`)
    CACHE/tmp/                       unfinished downloads, each named after the process that owns it

`MAIR_CACHE_DIR` moves the cache, `MAIR_OFFLINE=1` forbids every network request.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from mair_cli.runtime.download import offline_requested
from mair_cli.weights.catalog import ModelEntry

__all__ = [
    "BUNDLED_DIR",
    "cache_dir",
    "is_available",
    "offline_requested",
    "weights_dir",
    "weights_file",
]

BUNDLED_DIR = Path(__file__).parent / "bundled"


def cache_dir() -> Path:
    """Folder for everything fetched: `MAIR_CACHE_DIR`, else the user cache folder of this system. May not exist yet."""
    named = os.environ.get("MAIR_CACHE_DIR", "").strip()
    return Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("mair", appauthor=False))


def weights_dir() -> Path:
    """Folder of converted published weights. May not exist yet."""
    return cache_dir() / "weights"


def weights_file(entry: ModelEntry) -> Path:
    """The one place where the entry's weights belong, whether or not they are there."""
    folder = BUNDLED_DIR if entry.origin == "bundled" else weights_dir()
    return folder / f"{entry.name}.safetensors"


def is_available(entry: ModelEntry) -> bool:
    """Whether the entry's weights are on this machine: shipped with the package, or fetched before."""
    return weights_file(entry).is_file()
