"""The steps of an inference program, as kernels that numba compiles; `running` carries a whole program out.

Everything lies in one flat float32 array `a`, pixels as rows, channels last, rows padded with zeros to whole vectors
(and kept so: a zero channel stays zero through every step). Weights lie packed in `w`; `m` is the same array, or the
same memory seen as pairs of bfloat16 where products are made of those: rows are then rounded to pairs in scratch before
a product. A step is a row of integers, see `program`; its jobs are independent of each other and take rows that stay in
the cache from start to end.
Letters as in `mair_cli.scan.inputs`; `ld` is the distance between rows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numba as nb
import numpy as np
from numpy.typing import NDArray

from mair_cli.compiling import compile_kernel
from mair_cli.inference import activations, pairs, tile, winograd
from mair_cli.inference.activations import GELU, LEAKY, SILU, SLOPE
from mair_cli.inference.pairs import Words, holds_pairs, match_rows, round_row
from mair_cli.inference.tile import Floats, product
from mair_cli.inference.winograd import convolve
from mair_cli.scan.cpu import simd
from mair_cli.scan.cpu.simd import (
    LANES,
    OPTIONS,
    add,
    broadcast,
    exp2,
    fma,
    gelu,
    load,
    maximum,
    mul,
    sigmoid,
    softplus,
    splat,
    store,
    sub,
    total,
    zeros,
)
from mair_cli.scan.orders import DIRECTIONS

f32 = np.float32
Ints = NDArray[np.int32]
Longs = NDArray[np.int64]

ROWS: Final = 48
"""Pixels of one job of the row-wise steps: eight rows of register tiles."""
SLOPE_UNIT: Final = f32(0.001)
"""Slopes of leaky activations stand in steps as whole multiples of this."""
EPSILON: Final = f32(1e-5)
"""Of layer norms, PyTorch's."""
NONE: Final = -1

# Kinds of steps.
LINEAR: Final = 0
SPREAD: Final = 1
SCAN: Final = 2
MERGE: Final = 3
NORM: Final = 4
CONVOLVE: Final = 5
SHUFFLE: Final = 6
UNSHUFFLE: Final = 7
JOIN: Final = 8

SOURCES: Final = (
    Path(__file__),
    *(Path(module.__file__ or "") for module in (activations, pairs, tile, winograd, simd)),
)


def _step(function: Callable[..., None]) -> Callable[..., Any]:
    """A step's job, all with the same arguments: the step, the job's number, then as in `running`."""
    return compile_kernel(function, SOURCES, OPTIONS)


@nb.njit(inline="always")
def _normalise(a: Floats, i: int, C: int, s: Floats, o: int, width: int) -> None:
    """A row of C channels, less its mean and over its standard deviation, padded to `width`."""
    sums = zeros()
    for j in range(0, width, LANES):
        sums = add(sums, load(a, i + j))
    mean = splat(total(sums) / f32(C))
    sums = zeros()
    for j in range(0, width, LANES):
        away = sub(load(a, i + j), mean)
        sums = fma(away, away, sums)
        store(s, o + j, away)
    level = total(mul(mean, mean)) / f32(LANES)  # what each padding channel has added
    variance = (total(sums) - f32(width - C) * level) / f32(C)
    scale = splat(f32(1) / np.sqrt(max(variance, f32(0)) + EPSILON))
    for j in range(0, width, LANES):
        store(s, o + j, mul(load(s, o + j), scale))
    for d in range(C, width):
        s[o + d] = f32(0)


@nb.njit(inline="always")
def _activate(a: Floats, i: int, first: int, width: int, kind: int) -> None:
    """Channels first … width of a row, through an activation."""
    if kind == SILU:
        for j in range(first, width, LANES):
            v = load(a, i + j)
            store(a, i + j, mul(v, sigmoid(v)))
    elif kind == GELU:
        for j in range(first, width, LANES):
            store(a, i + j, gelu(load(a, i + j)))
    elif kind == LEAKY:
        for j in range(first, width, LANES):
            v = load(a, i + j)
            store(a, i + j, maximum(v, mul(v, splat(f32(SLOPE)))))


@_step
def _linear(p: Longs, job: int, w: Floats, m: Words, a: Floats, orders: Ints, s0: int) -> None:
    """Rows through a linear layer; normalised before and activated after where the step says so."""
    L, source, lds, normalised, at, K, vectors, target, ldt, kind, activated_from = p[2:13]
    p0 = job * ROWS
    rows = min(ROWS, L - p0)
    if normalised or holds_pairs(m):
        width = (K + LANES - 1) // LANES * LANES
        for row in range(rows):
            i, o = source + (p0 + row) * lds, s0 + row * width
            if normalised:
                _normalise(a, i, K, a, o, width)
            else:
                round_row(a, i, width, a, o)
        if normalised:
            match_rows(m, a, s0, rows, width)
        product(a, s0, width, rows, m, at, K, vectors, a, target + p0 * ldt, ldt)
    else:
        product(a, source + p0 * lds, lds, rows, m, at, K, vectors, a, target + p0 * ldt, ldt)
    if kind:
        for row in range(rows):
            _activate(a, target + (p0 + row) * ldt, activated_from, vectors * LANES, kind)


@_step
def _spread(p: Longs, y: int, w: Floats, m: Words, a: Floats, orders: Ints, s0: int) -> None:
    """Row y of the image: 3×3 depthwise convolution, SiLU, and the projections of the scan."""
    H, W, source, lds, D, taps, at, vectors, u, target, ldt = p[2:13]
    width = (D + LANES - 1) // LANES * LANES
    bias = taps + 9 * width
    for x in range(W):
        o = u + (y * W + x) * width
        i = source + (y * W + x) * lds
        if 0 < y < H - 1 and 0 < x < W - 1:
            above, below = i - W * lds, i + W * lds
            for j in range(0, width, LANES):
                v = load(w, bias + j)
                t = taps + j
                v = fma(load(a, above - lds + j), load(w, t), v)
                v = fma(load(a, above + j), load(w, t + width), v)
                v = fma(load(a, above + lds + j), load(w, t + 2 * width), v)
                v = fma(load(a, i - lds + j), load(w, t + 3 * width), v)
                v = fma(load(a, i + j), load(w, t + 4 * width), v)
                v = fma(load(a, i + lds + j), load(w, t + 5 * width), v)
                v = fma(load(a, below - lds + j), load(w, t + 6 * width), v)
                v = fma(load(a, below + j), load(w, t + 7 * width), v)
                v = fma(load(a, below + lds + j), load(w, t + 8 * width), v)
                store(a, o + j, mul(v, sigmoid(v)))
        else:
            for j in range(0, width, LANES):
                v = load(w, bias + j)
                for dy in range(-1, 2):
                    for dx in range(-1, 2):
                        if 0 <= y + dy < H and 0 <= x + dx < W:
                            neighbour = load(a, i + (dy * W + dx) * lds + j)
                            v = fma(neighbour, load(w, taps + (3 * dy + dx + 4) * width + j), v)
                store(a, o + j, mul(v, sigmoid(v)))
    if not holds_pairs(m):
        product(a, u + y * W * width, width, W, m, at, D, vectors, a, target + y * W * ldt, ldt)
        return
    for x0 in range(0, W, ROWS):
        p0, rows = y * W + x0, min(ROWS, W - x0)
        for row in range(rows):
            round_row(a, u + (p0 + row) * width, width, a, s0 + row * width)
        product(a, s0, width, rows, m, at, D, vectors, a, target + p0 * ldt, ldt)


@_step
def _scan(p: Longs, job: int, w: Floats, m: Words, a: Floats, orders: Ints, s0: int) -> None:
    """One direction of the selective scan, for one chunk of channels; rates carry a factor log2(e).

    Parameters and state are copied into arrays of this job: with those the compiler knows that nothing which is written
    for a pixel can change them, and keeps more of them in registers.
    """
    L, D, R, N, u, projections, ldp, parameters, order, y, pooled, chunk, chunks = p[2:15]
    width = (D + LANES - 1) // LANES * LANES
    k, d0 = job // chunks, job % chunks * chunk
    W = min(chunk, width - d0)
    own = np.empty((R + 2 + N) * W, f32)
    for row in range(R + 2 + N):
        for j in range(0, W, LANES):
            store(own, row * W + j, load(w, parameters + (k * (R + 2 + N) + row) * width + d0 + j))
    state, sums, steps = np.zeros(N * W, f32), np.zeros(W, f32), np.empty(W, f32)
    bias, gain, rates = R * W, (R + 1) * W, (R + 2) * W
    for l in range(L):
        pixel = np.int64(orders[order + k * L + l])
        row = projections + pixel * ldp + k * (R + 2 * N)
        source, target = u + pixel * width + d0, y + (k * L + pixel) * width + d0
        if N == 1:
            for j in range(0, W, LANES):
                v = load(own, bias + j)
                for r in range(R):
                    v = fma(broadcast(a, row + r), load(own, r * W + j), v)
                step, value = softplus(v), load(a, source + j)
                inflow = mul(mul(step, value), broadcast(a, row + R))
                h = fma(exp2(mul(step, load(own, rates + j))), load(state, j), inflow)
                store(state, j, h)
                result = fma(h, broadcast(a, row + R + 1), mul(load(own, gain + j), value))
                store(a, target + j, result)
                store(sums, j, add(load(sums, j), result))
            continue
        for j in range(0, W, LANES):
            v = load(own, bias + j)
            for r in range(R):
                v = fma(broadcast(a, row + r), load(own, r * W + j), v)
            store(steps, j, softplus(v))
        for j in range(0, W, LANES):
            step, value = load(steps, j), load(a, source + j)
            inflow, result = mul(step, value), mul(load(own, gain + j), value)
            for n in range(N):
                i = n * W + j
                decay = exp2(mul(step, load(own, rates + i)))
                h = fma(decay, load(state, i), mul(inflow, broadcast(a, row + R + n)))
                store(state, i, h)
                result = fma(h, broadcast(a, row + R + N + n), result)
            store(a, target + j, result)
            store(sums, j, add(load(sums, j), result))
    mean = splat(f32(1) / f32(L))
    for j in range(0, W, LANES):
        store(a, pooled + k * width + d0 + j, mul(load(sums, j), mean))


@nb.njit(inline="always")
def _weigh(w: Floats, gate: int, a: Floats, pooled: int, s: Floats, o: int, width: int) -> None:
    """Sequence shuffle attention's weights of the directions, (K, D), from their means over the image."""
    bias = gate + DIRECTIONS * DIRECTIONS * width
    for n in range(DIRECTIONS):
        for j in range(0, width, LANES):
            v = load(w, bias + n * width + j)
            for k in range(DIRECTIONS):
                v = fma(load(w, gate + (n * DIRECTIONS + k) * width + j), load(a, pooled + k * width + j), v)
            store(s, o + n * width + j, sigmoid(v))


@nb.njit(inline="always")
def _add_scaled(
    s: Floats, i: int, a: Floats, x: int, w: Floats, scale: int, o_array: Floats, o: int, width: int
) -> None:
    """A row of a branch, plus the residual times the scale of each channel."""
    for j in range(0, width, LANES):
        store(o_array, o + j, fma(load(a, x + j), load(w, scale + j), load(s, i + j)))


@_step
def _merge(p: Longs, job: int, w: Floats, m: Words, a: Floats, orders: Ints, s0: int) -> None:
    """The rest of a block, row by row: merge the directions, norm, gate, project and add; then norm, MLP and add."""
    L, D, y, pooled, gate, affine, gating, ldg, out, C, x, ldx, scale1, fc1, hidden, fc2, scale2, target = p[2:20]
    width, wide = (D + LANES - 1) // LANES * LANES, (C + LANES - 1) // LANES * LANES
    deep = (hidden + LANES - 1) // LANES * LANES
    weights, merged = s0, s0 + DIRECTIONS * width
    branch = merged + ROWS * width
    between = branch + ROWS * wide
    normed = between + ROWS * wide
    inner = normed + ROWS * wide
    _weigh(w, gate, a, pooled, a, weights, width)
    p0 = job * ROWS
    rows = min(ROWS, L - p0)
    for row in range(rows):
        o, from_y = merged + row * width, y + (p0 + row) * width
        for j in range(0, width, LANES):
            v = mul(load(a, weights + j), load(a, from_y + j))
            v = fma(load(a, weights + width + j), load(a, from_y + L * width + j), v)
            v = fma(load(a, weights + 2 * width + j), load(a, from_y + 2 * L * width + j), v)
            v = fma(load(a, weights + 3 * width + j), load(a, from_y + 3 * L * width + j), v)
            store(a, o + j, v)
        _normalise(a, o, D, a, o, width)
        g = gating + (p0 + row) * ldg
        for j in range(0, width, LANES):
            v = fma(load(a, o + j), load(w, affine + j), load(w, affine + width + j))
            store(a, o + j, mul(v, load(a, g + j)))
    match_rows(m, a, merged, rows, width)
    product(a, merged, width, rows, m, out, D, wide // LANES, a, branch, wide)
    for row in range(rows):
        _add_scaled(a, branch + row * wide, a, x + (p0 + row) * ldx, w, scale1, a, between + row * wide, wide)
        _normalise(a, between + row * wide, C, a, normed + row * wide, wide)
    match_rows(m, a, normed, rows, wide)
    product(a, normed, wide, rows, m, fc1, C, deep // LANES, a, inner, deep)
    for row in range(rows):
        _activate(a, inner + row * deep, 0, deep, GELU)
    match_rows(m, a, inner, rows, deep)
    product(a, inner, deep, rows, m, fc2, hidden, wide // LANES, a, branch, wide)
    for row in range(rows):
        _add_scaled(a, branch + row * wide, a, between + row * wide, w, scale2, a, target + (p0 + row) * ldx, wide)


@_step
def _convolve(p: Longs, job: int, w: Floats, m: Words, a: Floats, orders: Ints, s0: int) -> None:
    """Patches of a 3×3 convolution."""
    H, W, source, lds, K, at, vectors, target, ldt, residual, ldr, kind, slope, exact = p[2:16]
    leak = f32(slope) * SLOPE_UNIT
    convolve(job, a, H, W, source, lds, K, w, m, exact, at, vectors, target, ldt, residual, ldr, kind, leak, s0)


@_step
def _norm(p: Longs, job: int, w: Floats, m: Words, a: Floats, orders: Ints, s0: int) -> None:
    """Layer norm with its affine part."""
    L, source, lds, C, affine, target, ldt = p[2:9]
    width = (C + LANES - 1) // LANES * LANES
    for row in range(job * ROWS, min(L, (job + 1) * ROWS)):
        o = target + row * ldt
        _normalise(a, source + row * lds, C, a, o, width)
        for j in range(0, width, LANES):
            store(a, o + j, fma(load(a, o + j), load(w, affine + j), load(w, affine + width + j)))


@nb.njit(inline="always")
def _shuffle_row(p: Longs, y: int, a: Floats, apart: bool) -> None:
    """Row y of the smaller image: pixel shuffle by r (C · r² channels to C at r times the size), or the way back."""
    _, W, small, lds, C, r, large, ldl = p[2:10]
    for x in range(W):
        if apart:
            for c in range(C * r * r, lds):
                a[small + (y * W + x) * lds + c] = f32(0)
        for dy in range(r):
            for dx in range(r):
                i, o = small + (y * W + x) * lds + dy * r + dx, large + ((y * r + dy) * W * r + x * r + dx) * ldl
                for c in range(C):
                    if apart:
                        a[i + c * r * r] = a[o + c]
                    else:
                        a[o + c] = a[i + c * r * r]
                if not apart:
                    for c in range(C, (C + LANES - 1) // LANES * LANES):
                        a[o + c] = f32(0)


@_step
def _shuffle(p: Longs, y: int, w: Floats, m: Words, a: Floats, orders: Ints, s0: int) -> None:
    """Row y of the smaller image, to the larger."""
    _shuffle_row(p, y, a, False)


@_step
def _unshuffle(p: Longs, y: int, w: Floats, m: Words, a: Floats, orders: Ints, s0: int) -> None:
    """Row y of the smaller image, from the larger."""
    _shuffle_row(p, y, a, True)


@_step
def _join(p: Longs, job: int, w: Floats, m: Words, a: Floats, orders: Ints, s0: int) -> None:
    """Channels of two images one after the other."""
    L, first, ld1, C1, second, ld2, C2, target, ldt = p[2:11]
    for row in range(job * ROWS, min(L, (job + 1) * ROWS)):
        o = target + row * ldt
        for c in range(C1):
            a[o + c] = a[first + row * ld1 + c]
        for c in range(C2):
            a[o + C1 + c] = a[second + row * ld2 + c]
        for c in range(C1 + C2, (C1 + C2 + LANES - 1) // LANES * LANES):
            a[o + c] = f32(0)


STEPS: Final = MappingProxyType(
    {
        LINEAR: _linear,
        SPREAD: _spread,
        SCAN: _scan,
        MERGE: _merge,
        NORM: _norm,
        CONVOLVE: _convolve,
        SHUFFLE: _shuffle,
        UNSHUFFLE: _unshuffle,
        JOIN: _join,
    }
)
"""By kind."""
