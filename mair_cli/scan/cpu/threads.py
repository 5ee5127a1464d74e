"""Shares the jobs of a compiled kernel among threads.

Kernels release the interpreter's lock, so any threads will do. PyTorch's own OpenMP threads are the best choice: after
each operation they wait for the next one by spinning, and other threads would have to share their processors with
them (measured on two cores: the tiny network takes 1.4 times as long). GNU's OpenMP library, which PyTorch brings along
on Linux, can be asked to run a function on them; elsewhere a pool of plain threads serves.
"""

from __future__ import annotations

import ctypes
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch

_CALLBACK: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@cache
def _openmp() -> ctypes.CDLL | None:
    """The OpenMP library that PyTorch itself has loaded, if it is GNU's."""
    package = Path(torch.__file__).parent
    for path in (*package.glob("lib/libgomp*.so*"), *package.parent.glob("torch.libs/libgomp*.so*")):
        try:
            # Only a library that is loaded already has PyTorch's threads.
            library = ctypes.CDLL(str(path), mode=os.RTLD_NOW | os.RTLD_NOLOAD)
        except OSError:
            continue
        if hasattr(library, "GOMP_parallel"):
            library.GOMP_parallel.argtypes = [_CALLBACK, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
            library.GOMP_parallel.restype = None
            return library
    return None


@cache
def pool(workers: int) -> ThreadPoolExecutor:
    """Plain threads, kept for later calls; forgotten by forked children, who would have none of them."""
    return ThreadPoolExecutor(workers, thread_name_prefix="mair-scan")


def _forget_threads() -> None:
    """A forked child inherits pools, ours and OpenMP's, but none of their threads, and would wait for them for ever.

    So it computes on the one that it has, as PyTorch's own data loaders do; a spawned process has all of its own.
    """
    pool.cache_clear()
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


def thread_count() -> int:
    """Threads that kernels use: as many as PyTorch, but no more than NUMBA_NUM_THREADS allows."""
    import numba

    return max(1, min(torch.get_num_threads(), int(numba.config.NUMBA_NUM_THREADS)))


def run_jobs(kernel: Callable[..., Any], jobs: int, *arguments: Any, grain: int = 1) -> None:
    """Call kernel(*arguments, first, last) so that the ranges cover 0 … jobs - 1, `grain` jobs at a time.

    Whichever thread is free takes the next range; what a job computes does not depend on which thread that is.
    """
    threads = min(thread_count(), -(-jobs // grain))
    if threads == 1:
        kernel(*arguments, 0, jobs)
        return
    ranges = itertools.count(0, grain)
    failures: list[BaseException] = []

    def work(_: object = None) -> None:
        try:
            while (first := next(ranges)) < jobs:
                kernel(*arguments, first, min(first + grain, jobs))
        except BaseException as error:  # noqa: BLE001 - raised again by the calling thread
            failures.append(error)

    library = _openmp()
    if library is None:
        others = [pool(thread_count()).submit(work) for _ in range(threads - 1)]
        work()
        for other in others:
            other.result()
    else:
        library.GOMP_parallel(_CALLBACK(work), None, threads, 0)
    if failures:
        raise failures[0]
