"""Carries programs out: machine code for the steps that are needed, and the loop in which all threads share their jobs.

Steps are compiled apart and called by their place in memory. In one piece, LLVM would go through the code of each again
and again for whatever calls it, and through steps that a network does not have.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from mair_cli.compiling import compile_kernel
from mair_cli.inference import waiting
from mair_cli.inference.kernels import STEPS, Ints, Longs
from mair_cli.inference.pairs import Words
from mair_cli.inference.tile import Floats
from mair_cli.inference.waiting import APART, take, wait_until
from mair_cli.scan.cpu.simd import OPTIONS

_SOURCES: Final = (Path(__file__), Path(waiting.__file__))


def _argument_types(pairs: bool) -> tuple[Any, ...]:
    """Of every step: p, job, w, m, a, orders, s0."""
    floats, words = types.float32[::1], types.uint32[::1] if pairs else types.float32[::1]
    return types.int64[::1], types.intp, floats, words, floats, types.int32[::1], types.intp


@cache  # asked for with every tile, and numba takes a while to find what it has
def compiled(kinds: frozenset[int], *, pairs: bool) -> Longs:
    """Where the machine code of steps begins, by kind; kinds that are not named are not compiled, and get 0."""
    arguments, places = _argument_types(pairs), np.zeros(len(STEPS), np.int64)
    for kind in kinds:
        step: Any = STEPS[kind]
        step.compile(types.void(*arguments))
        result = step.overloads[arguments]
        places[kind] = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
    return places


@intrinsic
def _call(_context: Any, _place: Any, p: Any, job: Any, w: Any, m: Any, a: Any, orders: Any, s0: Any) -> Any:
    """Carry out one job by the machine code at `place`: steps are compiled apart, and only those that are needed."""
    arguments = (p, job, w, m, a, orders, s0)

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        kind = context.call_conv.get_function_type(types.none, arguments)
        function = builder.inttoptr(values[0], kind.as_pointer())
        context.call_conv.call_function(builder, function, types.none, arguments, values[1:])
        return context.get_dummy_value()

    return types.void(types.int64, *arguments), generate


def _run(
    places: Longs, program: Longs, w: Floats, m: Words, a: Floats, orders: Ints, scratch: int, share: int,
    counters: Longs, thread: int,
) -> None:  # fmt: skip
    """Carry a program out together with other threads that call this with the same arguments.

    Args:
        places: of machine code, from `compiled`.
        program: steps, one a row.
        w: packed weights.
        m: those of linear layers and of convolutions in pairs, in the same places: w itself or its memory as words.
        a: images and, from place `scratch`, `share` floats for each thread.
        orders: scan orders.
        scratch: see `a`.
        share: see `a`.
        counters: zeros, 2 · steps · APART of them: jobs taken, and jobs done, of each step.
        thread: number of this thread.
    """
    count = len(program)
    own = scratch + thread * share
    for n in range(count):
        p = program[n]
        place, jobs = places[p[0]], p[1]
        while True:
            job = take(counters, n * APART)
            if job >= jobs:
                break
            _call(place, p, job, w, m, a, orders, own)
            take(counters, (count + n) * APART)
        wait_until(counters, (count + n) * APART, jobs)


run: Any = compile_kernel(_run, _SOURCES, OPTIONS)
