"""Where fetched files live, and which weights are there. Free of torch.

    CACHE/weights/NAME.safetensors   published weights, checked and converted; its metadata says from what
    CACHE/weights/hashes/FILE.json   the SHA-256 first seen of each published file (see `hashes`)
    CACHE/tmp/                       unfinished downloads, each named after the process that owns it

`MAIR_CACHE_DIR` moves the cache, `MAIR_OFFLINE=1` forbids every network request.
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import platformdirs

from mair_cli.errors import CheckpointError
from mair_cli.runtime.download import offline_requested
from mair_cli.weights.catalog import ModelEntry

__all__ = [
    "BUNDLED_DIR",
    "cache_dir",
    "is_available",
    "offline_requested",
    "read_metadata",
    "weights_dir",
    "weights_file",
]

BUNDLED_DIR = Path(__file__).parent / "bundled"

# A header lists names and shapes: 1000 tensors take 100 kB. The format itself allows 100 MB.
_MAX_HEADER = 16 * 1024 * 1024


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


def read_metadata(path: Path) -> dict[str, str]:
    """Metadata of a safetensors file, from its header alone.

    Raises:
        CheckpointError: the file has no readable safetensors header.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _MAX_HEADER:
                raise CheckpointError(f"{path}: not a safetensors file (its header claims {length} bytes)")
            header = json.loads(file.read(length))
        metadata = header.get("__metadata__", {})
        return {str(key): str(value) for key, value in metadata.items()}
    except (OSError, ValueError, AttributeError, RecursionError, struct.error) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error
