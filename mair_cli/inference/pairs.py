"""Products of bfloat16 numbers, two at a time, added up in float32: what AVX-512's BF16 instructions do.

Two neighbouring numbers, rounded to bfloat16, share the 32 bits of one float, so that packed weights and rows of pixels
keep their layout at half the length. Weights of pairs are held as unsigned words: the type of their array tells
kernels, when they are compiled, what they multiply.
"""

from __future__ import annotations

from typing import Any, Final

import numba as nb
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from mair_cli.inference.kinds import computes_in_pairs
from mair_cli.scan.cpu.simd import FLOATS, INTS, LANES, load, store, vector, zeros

Words = NDArray[np.float32] | NDArray[np.uint32]
"""Packed weights: of float32 products, or of pairs. Whatever is not multiplied stands there as float32."""

_SHORTS: Final = ir.VectorType(ir.IntType(16), 2 * LANES)


def _call(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    kinds = [argument.type for argument in arguments]
    function = builder.module.globals.get(name) or ir.Function(builder.module, ir.FunctionType(result, kinds), name)
    return builder.call(function, arguments)


def add_products(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """c plus both products of the pairs in a and b, lane by lane, each rounded once."""
    a, b = builder.bitcast(a, INTS), builder.bitcast(b, INTS)
    return _call(builder, "llvm.x86.avx512bf16.dpbf16ps.512", FLOATS, c, a, b)


@intrinsic
def holds_pairs(_context: Any, words: Any) -> Any:
    """Whether packed weights are pairs; a constant of the compiled code."""

    def generate(context: Any, _builder: Any, _signature: Any, _arguments: Any) -> Any:
        return context.get_constant(types.boolean, words.dtype == types.uint32)

    return types.boolean(words), generate


@intrinsic
def _round(_context: Any, _first: Any, _second: Any) -> Any:
    """Two vectors as pairs of bfloat16, nearest even: 2 · LANES numbers in LANES words."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        first, second = arguments
        if not computes_in_pairs():  # never runs there, but is compiled
            return first
        shorts = _call(builder, "llvm.x86.avx512bf16.cvtne2ps2bf16.512", _SHORTS, second, first)
        return builder.bitcast(shorts, FLOATS)

    return vector(vector, vector), generate


@nb.njit(inline="always")
def round_row(a: NDArray[np.float32], i: int, width: int, s: NDArray[np.float32], o: int) -> None:
    """A row of whole vectors as pairs, padded to whole vectors; may stay in its place."""
    for j in range(0, width, 2 * LANES):
        second = load(a, i + j + LANES) if j + LANES < width else zeros()
        store(s, o + j // 2, _round(load(a, i + j), second))


@nb.njit(inline="always")
def match_rows(w: Words, s: NDArray[np.float32], o: int, rows: int, width: int) -> None:
    """Rows as products with w take them: left alone, or rounded to pairs in their places."""
    if holds_pairs(w):
        for row in range(rows):
            round_row(s, o + row * width, width, s, o + row * width)


def as_pairs(table: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows two by two, rounded to bfloat16 (nearest even): (K, N) to (⌈K / 2⌉, N), the first of two in the low bits."""
    if len(table) % 2:
        table = np.concatenate([table, np.zeros_like(table[:1])])
    bits = np.ascontiguousarray(table, np.float32).view(np.uint32).astype(np.uint64)
    halves = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint32)
    return (halves[0::2] | halves[1::2] << 16).view(np.float32)
