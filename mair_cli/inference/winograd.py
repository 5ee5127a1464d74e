"""3×3 convolutions by Winograd's minimal filtering F(4×4, 3×3): 36 multiplications where plain sums need 144.

Each 6×6 patch of the input (they overlap by 2) is transformed, channels are mixed by a matrix product at each of the 36
places, and the result is transformed back to 4×4 pixels. Source: Lavin and Gray, "Fast Algorithms for Convolutional
Neural Networks", CVPR 2016, section 4.3, whose matrices these are.
"""

from __future__ import annotations

from typing import Any, Final

import numba as nb
import numpy as np

from mair_cli.inference.pairs import Words, holds_pairs, match_rows
from mair_cli.inference.tile import Floats, pack, padded, product
from mair_cli.scan.cpu.simd import LANES, OPTIONS, add, fma, load, maximum, mul, splat, store, sub, zeros

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


@nb.njit(inline="always")
def _load_six(a: Floats, i: int, step: int) -> Any:
    return (
        load(a, i),
        load(a, i + step),
        load(a, i + 2 * step),
        load(a, i + 3 * step),
        load(a, i + 4 * step),
        load(a, i + 5 * step),
    )


@nb.njit(inline="always")
def _store_four(a: Floats, i: int, step: int, values: Any) -> None:
    store(a, i, values[0])
    store(a, i + step, values[1])
    store(a, i + 2 * step, values[2])
    store(a, i + 3 * step, values[3])


@nb.njit(inline="always")
def _store_six(a: Floats, i: int, step: int, values: Any) -> None:
    _store_four(a, i, step, values)
    store(a, i + 4 * step, values[4])
    store(a, i + 5 * step, values[5])


@nb.njit(inline="always")
def _forward(d: Any) -> Any:
    """Six values of a row or column of the patch, transformed."""
    d0, d1, d2, d3, d4, d5 = d
    four, two, minus_four, minus_five = splat(f32(4)), splat(f32(2)), splat(f32(-4)), splat(f32(-5))
    even, odd = fma(minus_four, d2, d4), fma(minus_four, d1, d3)
    near, far = sub(d4, d2), mul(two, sub(d3, d1))
    first, last = fma(four, d0, fma(minus_five, d2, d4)), fma(four, d1, fma(minus_five, d3, d5))
    return first, add(even, odd), sub(even, odd), add(near, far), sub(near, far), last


@nb.njit(inline="always")
def _back(m: Any) -> Any:
    """Six values of the product, back to four."""
    m0, m1, m2, m3, m4, m5 = m
    s1, d1, s2, d2 = add(m1, m2), sub(m1, m2), add(m3, m4), sub(m3, m4)
    outer = fma(splat(f32(4)), s2, s1), add(fma(splat(f32(8)), d2, d1), m5)
    return add(m0, add(s1, s2)), fma(splat(f32(2)), d2, d1), outer[0], outer[1]


@nb.njit(inline="always")
def _transform_patch(
    a: Floats, at: int, row: int, pixel: int, s: Floats, half: int, to: int, place: int, vectors: int
) -> None:
    """One patch, its pixels `pixel` and its rows `row` apart from place `at`, to s[to + n·place], n < 36."""
    for j in range(0, vectors * LANES, LANES):
        for x in range(PATCH):
            i = at + x * pixel + j
            t = _forward(_load_six(a, i, row))
            _store_six(s, half + x * LANES, PATCH * LANES, t)
        for y in range(PATCH):
            i = half + y * PATCH * LANES
            t = _forward(_load_six(s, i, LANES))
            _store_six(s, to + y * PATCH * place + j, place, t)


@nb.njit(inline="always")
def _copy_border_patch(
    a: Floats, x0: int, y0: int, H: int, W: int, start: int, ld: int, s: Floats, to: int, width: int
) -> None:
    """A patch that sticks out of the image, zeros outside."""
    for y in range(PATCH):
        for x in range(PATCH):
            inside = 0 <= y0 + y < H and 0 <= x0 + x < W
            source, target = start + ((y0 + y) * W + x0 + x) * ld, to + (y * PATCH + x) * width
            for j in range(0, width, LANES):
                store(s, target + j, load(a, source + j) if inside else zeros())


def scratch_size(channels_in: int, channels_out: int) -> int:
    """Floats that a thread needs for `convolve`; both widths padded."""
    return PLACES * (TILES * (channels_in + channels_out) + channels_in + LANES)


@nb.njit(**OPTIONS)
def convolve(
    job: int, a: Floats, H: int, W: int, source: int, lds: int, K: int, w: Words, at: int, vectors: int,
    target: int, ldt: int, residual: int, ldr: int, slope: np.float32, s: Floats, s0: int,
) -> None:  # fmt: skip
    """Patches job · TILES … of a convolution with zeros around the image.

    Pixels of the image stand at source + p · lds in a, K channels used; results go to target + p · ldt, with the bias,
    times `slope` where negative, and with what stands at residual + p · ldr added if residual is not -1.
    """
    width_in, width_out = (K + LANES - 1) // LANES * LANES, vectors * LANES
    across = (W + OUT - 1) // OUT
    count = across * ((H + OUT - 1) // OUT)
    first = job * TILES
    tiles = min(TILES, count - first)
    V, M = s0, s0 + PLACES * TILES * width_in
    border = M + PLACES * TILES * width_out
    half = border + PLACES * width_in
    for t in range(tiles):
        y0, x0 = (first + t) // across * OUT - 1, (first + t) % across * OUT - 1
        if y0 >= 0 and x0 >= 0 and y0 + PATCH <= H and x0 + PATCH <= W:
            _transform_patch(
                a,
                source + (y0 * W + x0) * lds,
                W * lds,
                lds,
                s,
                half,
                V + t * width_in,
                TILES * width_in,
                width_in // LANES,
            )
        else:
            _copy_border_patch(a, x0, y0, H, W, source, lds, s, border, width_in)
            _transform_patch(
                s, border, PATCH * width_in, width_in, s, half, V + t * width_in, TILES * width_in, width_in // LANES
            )
    match_rows(w, s, V, PLACES * TILES, width_in)
    matrix = ((K + 1) // 2 + 1 if holds_pairs(w) else K + 1) * width_out
    for n in range(PLACES):
        product(
            s,
            V + n * TILES * width_in,
            width_in,
            tiles,
            w,
            at + n * matrix,
            K,
            vectors,
            s,
            M + n * TILES * width_out,
            width_out,
        )
    bias = at + PLACES * matrix
    for t in range(tiles):
        y0, x0 = (first + t) // across * OUT, (first + t) % across * OUT
        for j in range(0, width_out, LANES):
            for x in range(PATCH):
                i, step = M + t * width_out + j + x * TILES * width_out, PATCH * TILES * width_out
                r = _back(_load_six(s, i, step))
                _store_four(s, half + x * LANES, PATCH * LANES, r)
            for y in range(min(OUT, H - y0)):
                i = half + y * PATCH * LANES
                r = _back(_load_six(s, i, LANES))
                _store_four(s, i, LANES, r)
                for x in range(min(OUT, W - x0)):
                    p = (y0 + y) * W + x0 + x
                    value = add(load(s, i + x * LANES), load(w, bias + j))
                    if residual >= 0:
                        value = add(value, load(a, residual + p * ldr + j))
                    if slope != 1:
                        value = maximum(value, mul(value, splat(slope)))
                    store(a, target + p * ldt + j, value)
