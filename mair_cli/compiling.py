"""Compiles functions by numba on first use and keeps the machine code on disk, where that is possible.

numba's own cache watches the one file that a function stands in, and what it cannot read or write ends the program.
This one is keyed by the text of every file that goes into the code, checks a digest before it trusts what it reads, and
is optional: what is missing, cut off, foreign or not writable is compiled anew, in memory if need be.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast
from uuid import uuid4
from weakref import WeakSet

import numba
from numba.core import caching
from numba.core.event import Listener, register
from numba.core.serialize import dumps

from mair_cli.errors import NOTICE

logger = logging.getLogger(__name__)

_PATIENCE: Final = 1.0
"""Seconds of compiling that need no word."""
_DIGEST_BYTES: Final = hashlib.sha256().digest_size


class _CheckedFiles:
    """Machine code in a folder, a file for each key: digest, then pickle; takes the place of numba's index and data."""

    def __init__(self, folder: str, name: str, sources: tuple[Path, ...]) -> None:
        self._folder, self._name = Path(folder), name
        texts = [hashlib.sha256(source.read_bytes()).hexdigest() for source in sources]
        self._version = (numba.__version__, *texts)

    def _path(self, key: object) -> Path:
        digest = hashlib.sha256(repr((self._version, key)).encode()).hexdigest()
        return self._folder / f"{self._name}.{digest[:32]}.nbk"

    def load(self, key: object) -> object | None:
        """What was saved under the key; None where nothing whole is there."""
        try:
            content = self._path(key).read_bytes()
        except OSError:
            return None
        digest, data = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(data).digest() != digest:
            logger.info("the compiled code in %s is damaged and is made anew", self._path(key))
            return None
        return cast(object, pickle.loads(data))

    def save(self, key: object, value: object) -> None:
        """Write a file whole or not at all."""
        data, path = dumps(value), self._path(key)
        partial = path.with_name(f"{path.name}.{uuid4().hex[:16]}.tmp")
        try:
            partial.write_bytes(hashlib.sha256(data).digest() + data)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def flush(self) -> None:
        """Forget this function's code (numba's `recompile` asks for it)."""
        for path in self._folder.glob(f"{self._name}.*.nbk"):
            path.unlink(missing_ok=True)


_UserWide: Final[Any] = getattr(caching, "UserWideCacheLocator", None) or caching._UserWideCacheLocator


class _InHome(_UserWide):  # type: ignore[misc]  # numba has no type information
    """numba's folder for a package that cannot be written to; without a home, it would make one called `~`."""

    def ensure_cache_path(self) -> None:
        """Make the folder; an OSError lets numba go on without."""
        if not os.path.isabs(self._cache_path):  # noqa: PTH117  (text of numba's)
            raise OSError("no home folder is known")
        super().ensure_cache_path()


class _Places(caching.CompileResultCacheImpl):  # type: ignore[misc]
    """The folders that numba tries."""

    _locator_classes: Final = [
        _InHome if place is _UserWide else place for place in caching.CompileResultCacheImpl._locator_classes
    ]


class _Notice(Listener):  # type: ignore[misc]
    """Says once in a process, when compiling kernels has taken a second in all, what the user is waiting for."""

    def __init__(self) -> None:
        self.kernels: WeakSet[Any] = WeakSet()
        self._outermost: tuple[Any, threading.Timer, float] | None = None
        self._left = _PATIENCE

    def on_start(self, event: Any) -> None:  # noqa: ANN401 - numba's
        """numba compiles one function at a time, and within it those that it calls."""
        dispatcher = event.data["dispatcher"]
        if self._outermost is None and self._left > 0 and dispatcher in self.kernels:
            timer = threading.Timer(self._left, self._say)
            timer.daemon = True
            timer.start()
            self._outermost = dispatcher, timer, time.monotonic()

    def on_end(self, event: Any) -> None:  # noqa: ANN401 - numba's
        """It has been compiled, or cannot be."""
        if self._outermost is None:
            return
        dispatcher, timer, began = self._outermost
        if dispatcher is event.data["dispatcher"]:
            timer.cancel()
            self._left, self._outermost = self._left - (time.monotonic() - began), None

    def _say(self) -> None:
        self._left = 0
        logger.log(NOTICE, "Compiling for this processor: some ten seconds, in the first run only.")


_notice: Final = _Notice()
register("numba:compile", _notice)


class _KernelCache(caching.FunctionCache):  # type: ignore[misc]
    """numba's cache of one function, on checked files and without the power to end a run."""

    _impl_class: Final = _Places

    def __init__(self, function: Callable[..., Any], sources: tuple[Path, ...]) -> None:
        super().__init__(function)
        self._cache_file = _CheckedFiles(self._cache_path, self._impl.filename_base, sources)

    def save_overload(self, signature: object, compiled: object) -> None:
        """Keep the code on disk, or leave it where it is, in memory."""
        try:
            super().save_overload(signature, compiled)
        except OSError as error:
            logger.info("%s cannot be kept, and is compiled in each run: %s", self._impl.filename_base, error)


def compile_kernel(
    function: Callable[..., Any], sources: tuple[Path, ...], options: Mapping[str, Any]
) -> Callable[..., Any]:
    """A function to be compiled on first use.

    Args:
        function: what to compile.
        sources: every file that its machine code depends on.
        options: for `numba.njit`.
    """
    kernel: Any = numba.njit(**options)(function)
    try:
        kernel._cache = _KernelCache(function, sources)
    except (RuntimeError, OSError):  # numba has found no folder that it could write to
        kernel._cache = caching.NullCache()
        logger.info("no writable cache folder: %s is compiled in each run", function.__name__)
    _notice.kernels.add(kernel)
    compiled: Callable[..., Any] = kernel
    return compiled
