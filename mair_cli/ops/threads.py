"""Shares the jobs of a compiled kernel among threads.

Kernels release the interpreter's lock, so plain threads suffice: no OpenMP that could clash with PyTorch's own, nothing
that forbids forking or calling from several threads at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numba
import torch


@lru_cache(maxsize=1)
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="mair-scan")


if hasattr(os, "register_at_fork"):
    # A forked child has the pool object but none of its threads.
    os.register_at_fork(after_in_child=_pool.cache_clear)


def thread_count() -> int:
    """Threads that kernels use: as many as PyTorch, but no more than NUMBA_NUM_THREADS allows."""
    return max(1, min(torch.get_num_threads(), int(numba.config.NUMBA_NUM_THREADS)))


def run_jobs(kernel: Callable[..., Any], jobs: int, *arguments: Any) -> None:
    """Call kernel(*arguments, first, last) so that the ranges cover 0 … jobs - 1, on as many threads as useful."""
    threads = min(thread_count(), jobs)
    if threads == 1:
        kernel(*arguments, 0, jobs)
        return
    bounds = [jobs * i // threads for i in range(threads + 1)]
    pool = _pool(thread_count())
    others = [pool.submit(kernel, *arguments, *bounds[i : i + 2]) for i in range(1, threads)]
    kernel(*arguments, *bounds[:2])
    for other in others:
        other.result()
