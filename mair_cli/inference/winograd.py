"""3×3 convolutions by Winograd's minimal filtering F(4×4, 3×3): 36 multiplications where plain sums need 144.

Each 6×6 patch of the input (they overlap by 2) is transformed, channels are mixed by a matrix product at each of the 36
places, and the result is transformed back to 4×4 pixels. Source: Lavin and Gray, "Fast Algorithms for Convolutional
Neural Networks", CVPR 2016, section 4.3, whose matrices these are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numba as nb
import numpy as np
from numba.core import types
from numba.extending import intrinsic

from mair_cli.inference.activations import GATED, LEAKY, SILU
from mair_cli.inference.pairs import Words, holds_pairs, match_rows
from mair_cli.inference.tile import Floats, pack, padded, product
from mair_cli.scan.cpu.simd import (
    FLAGS,
    LANES,
    add,
    constant,
    load,
    maximum,
    mul,
    multiply_add,
    sigmoid,
    splat,
    store,
    sub,
    vector_pointer,
    zeros,
)

f32 = np.float32

OUT: Final = 4
"""Side of what one patch gives."""
PATCH: Final = 6
PLACES: Final = PATCH * PATCH
TILES: Final = 12
"""Patches of one job: two rows of register tiles; transformed, they and their products stay in the second cache."""

_FILTER: Final = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24


def pack_filter(weight: Floats, bias: Floats | None, *, pairs: bool = False) -> Floats:
    """Weights (N, K, 3, 3) and bias (N,) of a convolution, transformed and packed: 36 matrices, then the bias."""
    transformed = np.einsum("pi,nkij,qj->pqnk", _FILTER, weight.astype(np.float64), _FILTER).astype(np.float32)
    matrices = [pack(transformed[p, q], pairs=pairs) for p in range(PATCH) for q in range(PATCH)]
    columns = np.zeros(padded(len(weight)), np.float32)
    if bias is not None:
        columns[: len(weight)] = bias
    return np.concatenate([*matrices, columns])


def _forward(builder: Any, d: list[Any]) -> list[Any]:
    """Six values of a row or column of the patch, transformed."""

    def fma(factor: float, a: Any, b: Any) -> Any:
        return multiply_add(builder, constant(factor), a, b)

    even, odd = fma(-4, d[2], d[4]), fma(-4, d[1], d[3])
    near, far = builder.fsub(d[4], d[2], flags=FLAGS), builder.fsub(d[3], d[1], flags=FLAGS)
    first, last = fma(4, d[0], fma(-5, d[2], d[4])), fma(4, d[1], fma(-5, d[3], d[5]))
    return [first, fma(1, even, odd), fma(-1, odd, even), fma(2, far, near), fma(-2, far, near), last]


def _back(builder: Any, m: list[Any]) -> list[Any]:
    """Six values of the product, back to four."""

    def fma(factor: float, a: Any, b: Any) -> Any:
        return multiply_add(builder, constant(factor), a, b)

    s1, d1, s2, d2 = fma(1, m[2], m[1]), fma(-1, m[2], m[1]), fma(1, m[4], m[3]), fma(-1, m[4], m[3])
    return [fma(1, m[0], fma(1, s1, s2)), fma(2, d2, d1), fma(4, s2, s1), fma(8, d2, fma(1, d1, m[5]))]


def _make_transform(transform: Callable[[Any, list[Any]], list[Any]]) -> Callable[..., Any]:
    """f(a, i, step, o, place): six vectors from place i, `step` apart, transformed, to place o, `place` apart.

    One intrinsic, since numba takes long over many small calls.
    """

    @intrinsic
    def transformed(_context: Any, a: Any, i: Any, step: Any, o: Any, place: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            a, i, step, o, place = arguments
            data = context.make_array(signature.args[0])(context, builder, a).data
            six = []
            for _ in range(PATCH):
                six.append(builder.load(vector_pointer(builder, data, i), align=4))
                i = builder.add(i, step)
            for value in transform(builder, six):
                builder.store(value, vector_pointer(builder, data, o), align=4)
                o = builder.add(o, place)
            return context.get_dummy_value()

        integer = types.intp
        return types.void(a, integer, integer, integer, integer), generate

    made: Callable[..., Any] = transformed
    return made


_transform, _transform_back = _make_transform(_forward), _make_transform(_back)


@nb.njit(inline="always")
def _transform_patch(a: Floats, at: int, row: int, pixel: int, half: int, to: int, place: int, vectors: int) -> None:
    """One patch, its pixels `pixel` and its rows `row` apart from place `at`, to a[to + n·place], n < 36."""
    for j in range(0, vectors * LANES, LANES):
        for x in range(PATCH):
            _transform(a, at + x * pixel + j, row, half + x * LANES, PATCH * LANES)
        for y in range(PATCH):
            _transform(a, half + y * PATCH * LANES, LANES, to + y * PATCH * place + j, place)


@nb.njit(inline="always")
def _copy_border_patch(a: Floats, x0: int, y0: int, H: int, W: int, start: int, ld: int, to: int, width: int) -> None:
    """A patch that sticks out of the image, zeros outside."""
    for y in range(PATCH):
        for x in range(PATCH):
            inside = 0 <= y0 + y < H and 0 <= x0 + x < W
            source, target = start + ((y0 + y) * W + x0 + x) * ld, to + (y * PATCH + x) * width
            for j in range(0, width, LANES):
                store(a, target + j, load(a, source + j) if inside else zeros())


@nb.njit(inline="always")
def _multiply(
    a: Floats, V: int, M: int, K: int, tiles: int, vectors: int, w: Floats, m: Words, exact: bool, at: int
) -> int:  # fmt: skip
    """Products of transformed patches with the 36 matrices at place `at`; returns the place behind those."""
    width_in, width_out = (K + LANES - 1) // LANES * LANES, vectors * LANES
    matrix = ((K + 1) // 2 + 1 if holds_pairs(m) and not exact else K + 1) * width_out
    if not exact:
        match_rows(m, a, V, PLACES * TILES, width_in)
    for n in range(PLACES):
        rows, results, place = V + n * TILES * width_in, M + n * TILES * width_out, at + n * matrix
        if exact:
            product(a, rows, width_in, tiles, w, place, K, vectors, a, results, width_out)
        else:
            product(a, rows, width_in, tiles, m, place, K, vectors, a, results, width_out)
    return at + PLACES * matrix


def scratch_size(channels_in: int, channels_out: int) -> int:
    """Floats that a thread needs for `convolve`; both widths padded."""
    return PLACES * (TILES * (channels_in + channels_out) + channels_in + LANES)


@nb.njit(inline="always")
def convolve(
    job: int, a: Floats, H: int, W: int, source: int, lds: int, K: int, w: Floats, m: Words, exact: bool, at: int,
    vectors: int, target: int, ldt: int, residual: int, ldr: int, kind: int, slope: np.float32, s0: int,
) -> None:  # fmt: skip
    """Patches job · TILES … of a convolution with zeros around the image.

    Pixels of the image stand at source + p · lds in a, K channels used; results go to target + p · ldt, with the bias,
    what stands at residual + p · ldr added if residual is not -1, and through the activation `kind`, with this `slope`.
    Weights stand at place `at` of w, their matrices there, if they are `exact`, or of m; s0 is the place of scratch in
    a.
    """
    vectors_in = (K + LANES - 1) // LANES
    width_in, width_out = vectors_in * LANES, vectors * LANES
    across = (W + OUT - 1) // OUT
    count = across * ((H + OUT - 1) // OUT)
    first = job * TILES
    tiles = min(TILES, count - first)
    V, M = s0, s0 + PLACES * TILES * width_in
    border = M + PLACES * TILES * width_out
    half = border + PLACES * width_in
    for t in range(tiles):
        y0, x0 = (first + t) // across * OUT - 1, (first + t) % across * OUT - 1
        patch, row, pixel = source + (y0 * W + x0) * lds, W * lds, lds
        if y0 < 0 or x0 < 0 or y0 + PATCH > H or x0 + PATCH > W:
            _copy_border_patch(a, x0, y0, H, W, source, lds, border, width_in)
            patch, row, pixel = border, PATCH * width_in, width_in
        _transform_patch(a, patch, row, pixel, half, V + t * width_in, TILES * width_in, vectors_in)
    bias = _multiply(a, V, M, K, tiles, vectors, w, m, exact, at)
    for t in range(tiles):
        y0, x0 = (first + t) // across * OUT, (first + t) % across * OUT
        for j in range(0, width_out, LANES):
            for x in range(PATCH):
                i, step = M + t * width_out + j + x * TILES * width_out, PATCH * TILES * width_out
                _transform_back(a, i, step, half + x * LANES, PATCH * LANES)
            for y in range(min(OUT, H - y0)):
                i = half + y * PATCH * LANES
                _transform_back(a, i, LANES, i, LANES)
                for x in range(min(OUT, W - x0)):
                    p = (y0 + y) * W + x0 + x
                    value = add(load(a, i + x * LANES), load(w, bias + j))
                    gate = value
                    if residual >= 0:
                        value = add(value, load(a, residual + p * ldr + j))
                    if kind == LEAKY:
                        value = maximum(value, mul(value, splat(slope)))
                    elif kind == SILU:
                        value = mul(value, sigmoid(value))
                    elif kind == GATED:
                        value = mul(value, sub(sigmoid(gate), splat(f32(0.5))))
                    store(a, target + p * ldt + j, value)
