"""Locks between processes: each ends with the process that holds it, however that ends."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

__all__ = ["exclusive"]

log = logging.getLogger(__name__)

_NO_LOCKS_HERE: Final = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}


@contextmanager
def exclusive(path: Path, wait: float = 0.0) -> Iterator[bool]:
    """Hold the lock on `path`, a file that is made where needed, until the block ends.

    Args:
        path: the lock file; nothing else is kept in it.
        wait: seconds to wait for another holder.

    Yields:
        False if another process or thread still holds it; True if the lock is ours, or the file system has none.

    Raises:
        OSError: the file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=wait)
    ours = True
    try:
        lock.acquire()
    except Timeout:
        ours = False
    except OSError as error:
        if error.errno not in _NO_LOCKS_HERE:
            raise
        log.info("no locks on the file system of %s: going on without", path)
    try:
        yield ours
    finally:
        lock.release()
