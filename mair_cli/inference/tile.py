"""Matrix products in registers: the innermost loop of everything that multiplies in the inference form.

A tile is `rows` × `vectors · LANES` results that stay in registers while the sum over k runs; its shape follows the
number of registers. Weights are packed for it, see `pack`. Where they are pairs of bfloat16 (`pairs`), so are the rows
that they are multiplied with, and each step of the sum takes two k at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import llvmlite.binding as llvm
import numba as nb
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from mair_cli.inference.pairs import Words, add_products, as_pairs, holds_pairs
from mair_cli.scan.cpu.simd import LANES, OPTIONS, multiply_add, splat_lanes, vector_pointer

Floats = NDArray[np.float32]

ROWS: Final = 6
# AVX-512 holds 6 × 4 vectors of 16 floats in 24 of its 32 registers; AVX2 and NEON hold 6 × 1 in 12 of 16, or 24 of 32.
VECTORS: Final = 4 if llvm.get_host_cpu_features().get("avx512f", False) else 1
INDEX: Final = ir.IntType(64)


def _make_tile(rows: int, vectors: int) -> Callable[..., Any]:
    """tile(a, i, lda, w, at, K, c, o, ldc): c[o + r·ldc + n] = bias[n] + Σₖ a[i + r·lda + k] · w[k, n], r < rows.

    Each k is a number, or a pair of numbers.
    """

    @intrinsic
    def tile(
        _context: Any, a: Any, i: Any, lda: Any, w: Any, at: Any, K: Any, c: Any, o: Any, ldc: Any
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            a, i, lda, w, at, K, c, o, ldc = arguments
            data = [
                context.make_array(signature.args[n])(context, builder, array).data
                for n, array in ((0, a), (3, w), (6, c))
            ]
            multiply = add_products if signature.args[3].dtype == types.uint32 else multiply_add
            steps = [ir.Constant(INDEX, r) for r in range(rows)]
            sources = [builder.gep(data[0], [builder.add(i, builder.mul(lda, step))]) for step in steps]
            start = [
                builder.load(vector_pointer(builder, data[1], builder.add(at, ir.Constant(INDEX, v * LANES))), align=4)
                for v in range(vectors)
            ]
            width = ir.Constant(INDEX, vectors * LANES)
            first = builder.add(at, width)
            before, loop, after = builder.block, builder.append_basic_block("sum"), builder.append_basic_block("end")
            builder.branch(loop)
            builder.position_at_end(loop)
            k, place = builder.phi(INDEX), builder.phi(INDEX)
            sums = [[builder.phi(start[0].type) for _ in range(vectors)] for _ in range(rows)]
            weights = [
                builder.load(
                    vector_pointer(builder, data[1], builder.add(place, ir.Constant(INDEX, v * LANES))), align=4
                )
                for v in range(vectors)
            ]
            products = []
            for r in range(rows):
                value = splat_lanes(builder, builder.load(builder.gep(sources[r], [k])))
                products.append([multiply(builder, value, weights[v], sums[r][v]) for v in range(vectors)])
            next_k, next_place = builder.add(k, ir.Constant(INDEX, 1)), builder.add(place, width)
            k.add_incoming(ir.Constant(INDEX, 0), before)
            k.add_incoming(next_k, loop)
            place.add_incoming(first, before)
            place.add_incoming(next_place, loop)
            for r in range(rows):
                for v in range(vectors):
                    sums[r][v].add_incoming(start[v], before)
                    sums[r][v].add_incoming(products[r][v], loop)
            builder.cbranch(builder.icmp_signed("<", next_k, K), loop, after)
            builder.position_at_end(after)
            for r in range(rows):
                row = builder.add(o, builder.mul(ldc, steps[r]))
                for v in range(vectors):
                    target = vector_pointer(builder, data[2], builder.add(row, ir.Constant(INDEX, v * LANES)))
                    builder.store(products[r][v], target, align=4)
            return context.get_dummy_value()

        integer = types.intp
        return types.void(a, integer, integer, w, integer, integer, c, integer, integer), generate

    made: Callable[..., Any] = tile
    return made


_whole, _single = _make_tile(ROWS, VECTORS), _make_tile(1, VECTORS)
_whole_1, _single_1 = (_whole, _single) if VECTORS == 1 else (_make_tile(ROWS, 1), _make_tile(1, 1))


@nb.njit(**OPTIONS)
def product(
    a: Floats, i: int, lda: int, M: int, w: Words, at: int, K: int, vectors: int, c: Floats, o: int, ldc: int
) -> None:  # fmt: skip
    """Rows of c = bias + rows of a · W: M rows of `a` from place i, K ≥ 1 wide, `lda` apart; c likewise from o.

    W and its bias are packed at place `at` of w; c gets vectors · LANES columns. Where w holds pairs, rows of `a` do.
    """
    K = (K + 1) // 2 if holds_pairs(w) else K
    done = 0
    while done < vectors:
        wide = vectors - done >= VECTORS
        count = VECTORS if wide else 1
        block, column, m = at + done * LANES * (K + 1), o + done * LANES, 0
        while m + ROWS <= M:
            if wide:
                _whole(a, i + m * lda, lda, w, block, K, c, column + m * ldc, ldc)
            else:
                _whole_1(a, i + m * lda, lda, w, block, K, c, column + m * ldc, ldc)
            m += ROWS
        while m < M:
            if wide:
                _single(a, i + m * lda, lda, w, block, K, c, column + m * ldc, ldc)
            else:
                _single_1(a, i + m * lda, lda, w, block, K, c, column + m * ldc, ldc)
            m += 1
        done += count


def padded(width: int) -> int:
    """The next multiple of LANES."""
    return -(-width // LANES) * LANES


def pack(weight: Floats, bias: Floats | None = None, *, pairs: bool = False) -> Floats:
    """Weights in the order in which `product` reads them.

    Args:
        weight: (N, K), as PyTorch's linear layers have them.
        bias: (N,), or none.
        pairs: round weights to bfloat16 and put two into a word.

    Returns:
        Flat: blocks of columns, padded with zeros to vectors, in each the bias and then K rows, or ⌈K / 2⌉ of pairs.
    """
    N, K = weight.shape
    rows = np.zeros((K, padded(N)), np.float32)
    rows[:, :N] = weight.T
    first = np.zeros((1, padded(N)), np.float32)
    if bias is not None:
        first[0, :N] = bias
    table = np.concatenate([first, as_pairs(rows) if pairs else rows])
    blocks, column = [], 0
    while column < table.shape[1]:
        width = VECTORS * LANES if table.shape[1] - column >= VECTORS * LANES else LANES
        blocks.append(table[:, column : column + width].ravel())
        column += width
    return np.concatenate(blocks)
