"""Whole or not at all: how this package writes every file that somebody may read later.

The content goes to a temporary file in the target's folder, is flushed to the disk, and only then takes the target's
name. Whoever is killed meanwhile leaves the previous content, and a temporary file under a name of our own that tells
its process: `.mair-PID-RANDOM.part`. Later writers into the same folder delete it once that process is gone.
"""

from __future__ import annotations

import errno
import io
import os
import re
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Final

__all__ = ["atomic_write", "flush_to_disk", "temporary_file"]

_OWN_NAME: Final = re.compile(r"\.mair-(?:(?P<pid>\d+)-)?[0-9a-f]{12}\.part")  # images used to leave out the process
_ONCE_NAMED_AFTER_TARGETS: Final = frozenset({".pt", ".safetensors"})
_STALE_SECONDS: Final = 24 * 3600
_CANNOT_FLUSH: Final = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


@contextmanager
def atomic_write(target: Path, *, replace: bool = True) -> Iterator[BinaryIO]:
    """A stream, to write to and read from, whose content becomes the file `target` when the block ends.

    If the block or the disk fails, `target` stays what it was. An existing file keeps its permissions, and a link
    stays a link: the file that it leads to is written. Missing folders are made.

    Args:
        target: the file.
        replace: whether an existing file may be replaced; of several writers that may not, the first one wins.

    Raises:
        FileExistsError: `target` exists and may not be replaced.
        OSError: the disk or the folder fails, or `target` is a folder, device or pipe.
    """
    target = Path(os.path.realpath(target))
    mode = _mode(target)
    if target.suffix in _ONCE_NAMED_AFTER_TARGETS:  # by the first versions: `.state.pt.PID.tmp`
        _sweep(target.parent, re.compile(rf"\.{re.escape(target.name)}\.(?P<pid>\d+)(?:\.tmp|-[0-9a-f]{{8}}\.part)"))
    with _created(target.parent, 0o666 if mode is None else 0o600) as (descriptor, part):
        with _Stream(io.FileIO(descriptor, "r+")) as stream:
            yield stream
            stream.flush()
            flush_to_disk(descriptor)
        if mode is not None:
            with suppress(OSError):  # a file system without permissions
                part.chmod(mode)
        if replace:
            part.replace(target)
        else:
            _rename_to_new(part, target)


@contextmanager
def temporary_file(folder: Path) -> Iterator[Path]:
    """An empty file of this process alone in `folder`, readable by nobody else, that is gone when the block ends.

    Raises:
        OSError: it or the folder cannot be made.
    """
    with _created(folder, 0o600) as (descriptor, part):
        os.close(descriptor)
        yield part


class _Stream(io.BufferedRandom):
    """A stream without its file's number, to which Pillow would write, and take a short write for a whole one."""

    def fileno(self) -> int:
        """There is none to be had."""
        raise io.UnsupportedOperation("fileno")


def flush_to_disk(descriptor: int) -> None:
    """Flush a file down to the disk, as far as what is behind it can do that (a pipe and some file systems cannot).

    Raises:
        OSError: the content did not arrive.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH:
            raise


@contextmanager
def _created(folder: Path, mode: int) -> Iterator[tuple[int, Path]]:
    """A new file, open for reading and writing, and its name; the name is gone when the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    part = folder / f".mair-{os.getpid()}-{secrets.token_hex(6)}.part"
    # O_EXCL: neither a file nor a link that someone put there is opened.
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    try:
        yield descriptor, part
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _mode(target: Path) -> int | None:
    """Permissions of a file that exists, None for one that does not; raises OSError for what is no plain file."""
    try:
        status = target.stat()
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "A device or pipe, not a file", str(target))
    return stat.S_IMODE(status.st_mode)


def _rename_to_new(part: Path, target: Path) -> None:
    try:
        os.link(part, target)  # fails where the name is taken, however closely two writers follow one another
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        part.replace(target)


@lru_cache(maxsize=1024)
def _sweep(folder: Path, pattern: re.Pattern[str] = _OWN_NAME) -> None:
    """Delete what killed processes left in `folder`, once per process and folder.

    Only files of our own names, untouched for a day (their process may run on another machine that shares the folder)
    and of no process that runs here.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            name = pattern.fullmatch(entry.name)
            if name is None or _is_running(int(name["pid"] or 0)):
                continue
            with suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime > _STALE_SECONDS:
                    Path(entry.path).unlink()


def _is_running(pid: int) -> bool:
    if sys.platform == "win32" or not pid:
        return False  # Windows does not delete a file that a process has open
    try:
        os.kill(pid, 0)
    except PermissionError:  # another user's
        return True
    except (OSError, OverflowError):
        return False
    return True
