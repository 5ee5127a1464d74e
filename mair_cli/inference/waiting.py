"""How threads of the inference form share jobs and wait for each other: atomic counters, and giving up the processor.

A thread that waits spins for a moment, since the others mostly finish within microseconds; then it offers its
processor to whoever wants it, and soon sleeps. So a machine with other work is not kept busy by waiting.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any, Final

import llvmlite.binding as llvm
import numba as nb
import numpy as np
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

Counters = NDArray[np.int64]

APART: Final = 8
"""Counters between two that are used: each has a cache line of its own."""
_SPINS: Final = 2000
_YIELDS: Final = 50
_SLEEP_MICROSECONDS: Final = 50


def _register() -> None:
    """Tell LLVM where the system's functions are: code that was compiled earlier finds them under these names."""
    give_way: Any
    sleep: Any
    if os.name == "nt":
        kernel32: Any = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]
        give_way, sleep = kernel32.SwitchToThread, ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda _: kernel32.Sleep(1))
        _kept.append(sleep)
    else:
        library = ctypes.CDLL(None)
        give_way, sleep = library.sched_yield, library.usleep
    for name, function in (("mair_give_way", give_way), ("mair_sleep", sleep)):
        llvm.add_symbol(name, ctypes.cast(function, ctypes.c_void_p).value)


_kept: list[Any] = []
_register()
_give_way: Final[Any] = types.ExternalFunction("mair_give_way", types.int32())
_sleep: Final[Any] = types.ExternalFunction("mair_sleep", types.int32(types.uint32))


@intrinsic
def take(_context: Any, array: Any, index: Any) -> Any:
    """array[index] += 1, at once for all threads; what it was before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        one = context.get_constant(types.int64, 1)
        return builder.atomic_rmw("add", builder.gep(data, [arguments[1]]), one, "acq_rel")

    return types.int64(array, types.intp), generate


@intrinsic
def look(_context: Any, array: Any, index: Any) -> Any:
    """array[index], as other threads have left it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.load_atomic(builder.gep(data, [arguments[1]]), "acquire", 8)

    return types.int64(array, types.intp), generate


@nb.njit(nogil=True)
def wait_until(counters: Counters, index: int, value: int) -> None:
    """Return when counters[index] has reached value."""
    turns = 0
    while look(counters, index) < value:
        turns += 1
        if turns > _SPINS + _YIELDS:
            _sleep(_SLEEP_MICROSECONDS)
        elif turns > _SPINS:
            _give_way()
