"""The selective scan on a CPU: kernels compiled by numba. Glossary in `mair_cli.scan.inputs`.

What makes them fast: pixels stay rows, channels last, so the scan only needs the order in which to visit them; step
size, softplus, discretisation, recurrence, output and skip are one pass; channels are worked on as explicit vectors
with their own exp and log (`simd`), in chunks whose states stay in the first-level cache. Step sizes of a whole chunk
come before its recurrence: each is one long chain of dependent operations, and only side by side do they
overlap.

A job is one image, one direction, one chunk of channels; jobs are independent, and kernels release the interpreter's
lock, so that threads may share them. Arrays are float32 and C-contiguous. W is the chunk's width, a multiple of
`LANES`; parameters and scratch are padded to it with zeros, and a zero channel adds nothing to any result.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numba as nb
import numpy as np
from numpy.typing import NDArray

from mair_cli.compiling import compile_kernel
from mair_cli.scan.cpu import simd
from mair_cli.scan.cpu.simd import (
    LANES,
    LOG2E,
    OPTIONS,
    add,
    broadcast,
    exp2,
    fma,
    load,
    mul,
    softplus,
    softplus_and_slope,
    splat,
    store,
    total,
    zeros,
)

f32 = np.float32
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
LN2: Final = f32(0.6931471805599453)
CHUNK: Final = 128
"""Channels of one job: 16 states of 128 channels fill a quarter of a small first-level cache."""
SEGMENT: Final = 32
"""Positions between two states that the forward scan keeps for the way back, which scans each segment once more: what
it needs of one segment then stays in the first or second cache, and the memory of all states is never needed."""

SOURCES: Final = (Path(__file__), Path(simd.__file__))
"""The files whose code goes into the kernels."""


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return compile_kernel(function, SOURCES, OPTIONS)


@nb.njit(inline="always")
def _scratch(size: int) -> Floats:
    """Zeros at an address that is a multiple of 64 bytes, so that no vector straddles two cache lines."""
    raw = np.zeros(size + 16, f32)
    start = (-(raw.ctypes.data >> 2)) & 15
    return raw[start : start + size]


@nb.njit(inline="always")
def _copy(source: Floats, i: int, target: Floats, j: int, count: int) -> None:
    """target[j : j + count] = source[i : i + count], by vectors."""
    whole = count // LANES * LANES
    for d in range(0, whole, LANES):
        store(target, j + d, load(source, i + d))
    for d in range(whole, count):
        target[j + d] = source[i + d]


@nb.njit(inline="always")
def _copy_scaled(source: Floats, d0: int, factor: np.float32, target: Floats, W: int) -> None:
    """Columns d0 … d0 + W of a (rows, D) array, times a factor, as rows of W; columns past D are 0."""
    rows, D = source.shape
    for i in range(rows):
        for d in range(min(W, D - d0)):
            target[i * W + d] = source[i, d0 + d] * factor


@nb.njit(inline="always")
def _step_sizes(row: Floats, R: int, w: Floats, bias: Floats, dt: Floats, W: int) -> None:
    """dt before softplus, for a chunk of channels: dt_weight · r + dt_bias."""
    for j in range(0, W, LANES):
        v = load(bias, j)
        for r in range(R):
            v = fma(broadcast(row, r), load(w, r * W + j), v)
        store(dt, j, v)


@_compiled
def scan_forward(
    u: Floats,
    projections: Floats,
    dt_weight: Floats,
    dt_bias: Floats,
    A: Floats,
    skip: Floats,
    order: Ints,
    y: Floats,
    pooled: Floats,
    states: Floats,
    first: int,
    last: int,
) -> None:
    """Jobs first … last - 1 of the forward scan.

    u (B, L, D), projections (B, L, K, R + 2N), dt_weight (K, R, D), dt_bias (K, 1, D), A (K, N, D), skip (K, 1, D),
    order (K, L) → y (B, K, L, D), pooled (B, K, D) its sum over pixels, and, unless it is empty, states
    (B, K, segments, N, D), the state before each segment.
    """
    _, L, D = u.shape
    K, R = dt_weight.shape[:2]
    N = A.shape[1]
    chunks = (D + CHUNK - 1) // CHUNK
    width = min(CHUNK, (D + LANES - 1) // LANES * LANES)
    for job in range(first, last):
        b, k, d0 = job // (K * chunks), job // chunks % K, job % chunks * CHUNK
        W = min(width, (D - d0 + LANES - 1) // LANES * LANES)
        real = min(W, D - d0)
        w, bias, rates, gain = _scratch(R * W), _scratch(W), _scratch(N * W), _scratch(W)
        _copy_scaled(dt_weight[k], d0, f32(1), w, W)
        _copy_scaled(dt_bias[k], d0, f32(1), bias, W)
        _copy_scaled(A[k], d0, f32(LOG2E), rates, W)
        _copy_scaled(skip[k], d0, f32(1), gain, W)
        x, dt, out, sums, h = _scratch(W), _scratch(W), _scratch(W), _scratch(W), _scratch(N * W)
        for l in range(L):
            if l % SEGMENT == 0 and states.size > 0:
                for n in range(N):
                    _copy(h, n * W, states[b, k, l // SEGMENT, n], d0, real)
            p = order[k, l]
            row = projections[b, p, k]
            _copy(u[b, p], d0, x, 0, real)
            _step_sizes(row, R, w, bias, dt, W)
            for j in range(0, W, LANES):
                store(dt, j, softplus(load(dt, j)))
            for j in range(0, W, LANES):
                step, value = load(dt, j), load(x, j)
                inflow = mul(step, value)
                result = mul(load(gain, j), value)
                for n in range(N):
                    i = n * W + j
                    state = fma(exp2(mul(step, load(rates, i))), load(h, i), mul(inflow, broadcast(row, R + n)))
                    store(h, i, state)
                    result = fma(state, broadcast(row, R + N + n), result)
                store(out, j, result)
                store(sums, j, add(load(sums, j), result))
            _copy(out, 0, y[b, k, p], d0, real)
        _copy(sums, 0, pooled[b, k], d0, real)


@nb.njit(**OPTIONS)
def _replay(
    u: Floats, projections: Floats, order: Ints, d0: int, w: Floats, bias: Floats, rates: Floats,
    X: Floats, DT: Floats, SIG: Floats, DECAY: Floats, H: Floats,
) -> None:  # fmt: skip
    """The forward scan of one segment of a job once more, keeping what the way back needs, by position along the path.

    X, DT, SIG (L · W) are input, step size and the derivative of softplus, DECAY (L · N · W) is exp(Δ·A); H
    ((L + 1) · N · W) holds the state before the segment, and gets that after each position.
    """
    L, R, W, N = len(order), len(w) // len(bias), len(bias), len(rates) // len(bias)
    for l in range(L):
        p = order[l]
        row = projections[p]
        x, dt, sig = X[l * W :], DT[l * W :], SIG[l * W :]
        decays, h, after = DECAY[l * N * W :], H[l * N * W :], H[(l + 1) * N * W :]
        _copy(u[p], d0, x, 0, min(W, u.shape[1] - d0))
        _step_sizes(row, R, w, bias, dt, W)
        for j in range(0, W, LANES):
            step, slope = softplus_and_slope(load(dt, j))
            store(dt, j, step)
            store(sig, j, slope)
        for j in range(0, W, LANES):
            step = load(dt, j)
            inflow = mul(step, load(x, j))
            for n in range(N):
                i = n * W + j
                decay = exp2(mul(step, load(rates, i)))
                store(decays, i, decay)
                store(after, i, fma(decay, load(h, i), mul(inflow, broadcast(row, R + n))))


@nb.njit(**OPTIONS)
def _retrace(
    row: Floats, R: int, g: Floats, factor: Floats, base: Floats, x: Floats, dt: Floats, sig: Floats,
    decays: Floats, h: Floats, after: Floats, rates: Floats, gain: Floats, partial: Floats, gh: Floats, gA: Floats,
    gx: Floats, gs: Floats, gv: Floats, gb: Floats,
) -> None:  # fmt: skip
    """One position on the way back: from the gradient of y to those of everything that went into it.

    gh, gA, gs and gb are added to, gx and gv written; `partial` gets the products for B and C, still to be summed
    over lanes.
    """
    W, N = len(gb), len(rates) // len(gb)
    for j in range(0, W, LANES):
        step, value = load(dt, j), load(x, j)
        grad = fma(load(g, j), load(factor, j), load(base, j))
        inflow = mul(step, value)
        g_step, g_inflow = zeros(), zeros()
        for n in range(N):
            i = n * W + j
            to_b, to_c = (R + n) * LANES, (R + N + n) * LANES
            store(partial, to_c, fma(grad, load(after, i), load(partial, to_c)))
            g_state = fma(grad, broadcast(row, R + N + n), load(gh, i))
            carried = mul(g_state, load(decays, i))
            g_rate = mul(carried, load(h, i))
            g_step = fma(g_rate, load(rates, i), g_step)
            store(gA, i, fma(g_rate, step, load(gA, i)))
            g_inflow = fma(g_state, broadcast(row, R + n), g_inflow)
            store(partial, to_b, fma(g_state, inflow, load(partial, to_b)))
            store(gh, i, carried)
        store(gx, j, fma(g_inflow, step, mul(grad, load(gain, j))))
        store(gs, j, fma(grad, value, load(gs, j)))
        # rates carry a factor log2(e), which is taken back here
        before_softplus = mul(fma(g_step, splat(LN2), mul(g_inflow, value)), load(sig, j))
        store(gv, j, before_softplus)
        store(gb, j, add(before_softplus, load(gb, j)))


@nb.njit(inline="always")
def _before_softplus(row: Floats, R: int, w: Floats, gv: Floats, gw: Floats, partial: Floats) -> None:
    """From the gradient before softplus to those of the step-size projection, added to gw, and of r, into `partial`."""
    W = len(gv)
    for r in range(R):
        scale = broadcast(row, r)
        accumulated = zeros()
        for j in range(0, W, LANES):
            value = load(gv, j)
            i = r * W + j
            accumulated = fma(value, load(w, i), accumulated)
            store(gw, i, fma(value, scale, load(gw, i)))
        store(partial, r * LANES, accumulated)


@_compiled
def scan_backward(
    u: Floats,
    projections: Floats,
    dt_weight: Floats,
    dt_bias: Floats,
    A: Floats,
    skip: Floats,
    order: Ints,
    states: Floats,
    gradient: Floats,
    weight: Floats,
    offset: Floats,
    g_u: Floats,
    g_projections: Floats,
    g_dt_weight: Floats,
    g_dt_bias: Floats,
    g_A: Floats,
    g_skip: Floats,
    first: int,
    last: int,
) -> None:
    """Jobs first … last - 1 of the adjoint of `scan_forward`, which must have kept `states`.

    The gradient of y at direction k is weight[b, k, d] · gradient[b, k % G, p, d] + offset[b, k, d], with gradient
    (B, G, L, D): G = K where every direction has its own, G = 1 where all share one, as after a weighted sum.

    Results, to be summed over what the inputs lack: g_u (B, K, L, D), g_projections (chunks, B, L, K, R + 2N),
    g_dt_weight (B, K, R, D), g_dt_bias (B, K, 1, D), g_A (B, K, N, D), g_skip (B, K, 1, D).
    """
    _, L, D = u.shape
    K, R = dt_weight.shape[:2]
    N = A.shape[1]
    shared = gradient.shape[1] != K
    chunks = (D + CHUNK - 1) // CHUNK
    width = min(CHUNK, (D + LANES - 1) // LANES * LANES)
    for job in range(first, last):
        b, k, chunk = job // (K * chunks), job // chunks % K, job % chunks
        d0 = chunk * CHUNK
        W = min(width, (D - d0 + LANES - 1) // LANES * LANES)
        real = min(W, D - d0)
        w, bias, rates, gain = _scratch(R * W), _scratch(W), _scratch(N * W), _scratch(W)
        _copy_scaled(dt_weight[k], d0, f32(1), w, W)
        _copy_scaled(dt_bias[k], d0, f32(1), bias, W)
        _copy_scaled(A[k], d0, f32(LOG2E), rates, W)
        _copy_scaled(skip[k], d0, f32(1), gain, W)

        X, DT, SIG = _scratch(SEGMENT * W), _scratch(SEGMENT * W), _scratch(SEGMENT * W)
        DECAY, H = _scratch(SEGMENT * N * W), _scratch((SEGMENT + 1) * N * W)
        factor, base, g = _scratch(W), _scratch(W), _scratch(W)
        _copy(weight[b, k], d0, factor, 0, real)
        _copy(offset[b, k], d0, base, 0, real)
        gh, gA, gw, gb, gs = _scratch(N * W), _scratch(N * W), _scratch(R * W), _scratch(W), _scratch(W)
        gv, gx = _scratch(W), _scratch(W)
        partial = _scratch((R + 2 * N) * LANES)
        for back in range(L):
            position = L - 1 - back
            segment, l = position // SEGMENT, position % SEGMENT
            if back == 0 or l == SEGMENT - 1:
                for n in range(N):
                    _copy(states[b, k, segment, n], d0, H, n * W, real)
                path = order[k, segment * SEGMENT : position + 1]
                _replay(u[b], projections[b, :, k], path, d0, w, bias, rates, X, DT, SIG, DECAY, H)
            p = order[k, position]
            row = projections[b, p, k]
            x, dt, sig = X[l * W :], DT[l * W :], SIG[l * W :]
            decays, h, after = DECAY[l * N * W :], H[l * N * W :], H[(l + 1) * N * W :]
            _copy(gradient[b, 0 if shared else k, p], d0, g, 0, real)
            for i in range(0, (R + 2 * N) * LANES, LANES):
                store(partial, i, zeros())
            _retrace(
                row, R, g, factor, base, x, dt, sig, decays, h, after, rates, gain, partial, gh, gA, gx, gs, gv, gb
            )
            _before_softplus(row, R, w, gv, gw, partial)
            target = g_projections[chunk, b, p, k]
            for i in range(R + 2 * N):
                target[i] = total(load(partial, i * LANES))
            _copy(gx, 0, g_u[b, k, p], d0, real)

        for r in range(R):
            _copy(gw, r * W, g_dt_weight[b, k, r], d0, real)
        for n in range(N):
            _copy(gA, n * W, g_A[b, k, n], d0, real)
        _copy(gb, 0, g_dt_bias[b, k, 0], d0, real)
        _copy(gs, 0, g_skip[b, k, 0], d0, real)


@_compiled
def weigh_directions(y: Floats, weight: Floats, out: Floats, first: int, last: int) -> None:
    """out[b, p] = Σₖ weight[b, k] · y[b, k, p] for rows first … last - 1 of (B · L); y (B, K, L, D), out (B, L, D)."""
    _, K, L, D = y.shape
    for job in range(first, last):
        b, p = job // L, job % L
        for d in range(D):
            result = weight[b, 0, d] * y[b, 0, p, d]
            for k in range(1, K):
                result += weight[b, k, d] * y[b, k, p, d]
            out[b, p, d] = result


@_compiled
def pool_products(y: Floats, gradient: Floats, out: Floats, first: int, last: int) -> None:
    """out[b, k] = Σₚ y[b, k, p] · gradient[b, p] for jobs (b, k) first … last - 1; y (B, K, L, D), out (B, K, D)."""
    _, K, L, D = y.shape
    for job in range(first, last):
        b, k = job // K, job % K
        sums = np.zeros(D, f32)
        for p in range(L):
            for d in range(D):
                sums[d] += y[b, k, p, d] * gradient[b, p, d]
        out[b, k, :] = sums
