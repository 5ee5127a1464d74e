"""Content of files, room on the disk, and how trouble with it is told."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mair_cli.errors import DownloadError, MairError

__all__ = ["CACHE_MOVES", "check_space", "disk_errors_as", "file_sha256"]

CACHE_MOVES: Final = ". MAIR_CACHE_DIR moves the cache."
"""Way out for `disk_errors_as` where the cache is written."""

_SPARE: Final = 16 << 20


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_space(folder: Path, needed: int) -> None:
    """Raise DownloadError if `folder`'s disk has no room for `needed` bytes and a little more."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError:  # not every file system tells; a full one is noticed when writing
        return
    if free < needed + _SPARE:
        raise DownloadError(
            f"Too little space in {folder}: {needed / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free{CACHE_MOVES}"
        )


@contextmanager
def disk_errors_as(kind: type[MairError], what: str, way_out: str = ".") -> Iterator[None]:
    """Turn any OSError in the block into `kind`: `what: reason`, then `way_out`.

    Raises:
        MairError: of that kind, instead of an OSError, which is its cause.
    """
    try:
        yield
    except OSError as error:
        raise kind(f"{what}: {error.strerror or error}{way_out}") from error
