"""Files that are whole or absent: temporary names, room on the disk, and how trouble with it is told."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mair_cli.errors import DownloadError

__all__ = ["check_space", "file_sha256", "temporary_file", "told_as_disk_trouble", "try_lock"]

_SPARE: Final = 16 << 20
_STALE_SECONDS: Final = 24 * 3600


@contextmanager
def temporary_file(target: Path) -> Iterator[Path]:
    """A name beside `target` for an unfinished version of it, of this process alone; gone when the block ends.

    What processes that were killed left there more than a day ago is removed: younger files may belong to a process on
    another machine that shares the folder.

    Raises:
        OSError: the folder cannot be made.
    """
    folder = target.parent
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".*.part"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                left.unlink()
    part = folder / f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.part"
    try:
        yield part
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


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
            f"Too little space in {folder}: {needed / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free. "
            "MAIR_CACHE_DIR moves the cache."
        )


@contextmanager
def told_as_disk_trouble(folder: Path) -> Iterator[None]:
    """Turn any OSError in the block into a DownloadError that names the folder.

    Raises:
        DownloadError: instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise DownloadError(
            f"Cannot write to {folder}: {error.strerror or error}. MAIR_CACHE_DIR moves the cache."
        ) from error


def try_lock(descriptor: int) -> bool:
    """Take the lock on an open file, which ends with the process that holds it; True too where there are no locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
