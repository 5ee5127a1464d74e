"""The selective scan as Triton kernels, for NVIDIA and AMD GPUs. Importing this module needs Triton.

A GPU has room for many thousands of paths at once, an image offers only B·K·D of them, and each is one long chain. So
the path is cut into chunks that are walked at the same time, in three steps (Blelloch, "Prefix sums and their
applications", 1990):

    summary   what each chunk adds to the state by itself, and how much time Δ passes in it
    carry     the state with which each chunk begins; over a whole chunk the state decays by exp(A · its time)
    output    every chunk again, from its true first state, now writing y

The gradient runs backwards the same way: `summary` and `carry` with `adjoint`, then `gradient`.

Glossary, beyond that of `mair_cli.scan.inputs`:
    chunk     CHUNK consecutive positions of one path; a program works on one chunk and BLOCK channels
    pixel     position in the image of each step of a chunk; `inside` is False past the path's end
    live      False for channels past D, where the last block is wider than what is left
    gate      b or c of one state, one number per pixel
    flow      what is multiplied by the gate
    q         gradient of the state h, one per step

Tiles are (CHUNK, BLOCK): steps along the first axis, channels along the second. A step past the end has Δ = 0 and flow
0, and so leaves the state alone. All arithmetic is in float32, whatever the tensors' own types. Nothing is added
atomically, so that equal inputs give equal results. Grid: (chunks · blocks, K, B); for `carry` (blocks, K · N, B).
"""

from __future__ import annotations

import triton
import triton.language as tl

# Sizes that are not worth a kernel of their own for each value, nor for being multiples of 16.
_RUNTIME_SIZES = ["length", "channels", "chunks"]

# The hardware computes powers of two; exp(Δ·A) is 2^(Δ·A·log2 e), and the factor goes into the rate once per chunk.
_LOG2_E = tl.constexpr(1.4426950408889634)
_LN_2 = tl.constexpr(0.6931471805599453)


@triton.jit
def _softplus(v: tl.tensor) -> tl.tensor:
    """log(1 + exp(v)) for any v, relative error about 1e-7, as needed for step sizes of 0.001.

    The hardware's logarithm is too coarse near 1, hence log1p(e) = 2 artanh(e / (2 + e)) as a series.
    """
    e = tl.exp(-tl.abs(v))
    z = e / (2.0 + e)
    s = z * z
    series = 1.0 / 9.0 + s * (1.0 / 11.0 + s * (1.0 / 13.0))
    series = 1.0 + s * (1.0 / 3.0 + s * (1.0 / 5.0 + s * (1.0 / 7.0 + s * series)))
    return tl.maximum(v, 0.0) + 2.0 * z * series


@triton.jit
def _then(
    decay: tl.tensor, state: tl.tensor, next_decay: tl.tensor, next_state: tl.tensor
) -> tuple[tl.tensor, tl.tensor]:
    """Join two stretches of a path: h ← decay · h + state, first the left one, then the right one."""
    return decay * next_decay, state * next_decay + next_state


@triton.jit
def _before(
    later_entry: tl.tensor,
    later_decay: tl.tensor,
    later_q: tl.tensor,
    entry: tl.tensor,
    decay: tl.tensor,
    q: tl.tensor,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Join two stretches walked backwards: q ← q + decay · (gradient of the state that leaves the stretch).

    `entry` is the decay of a stretch's first step: its own q has not passed through it yet, an earlier stretch's must.
    """
    through = decay * later_entry
    return entry, through * later_decay, q + through * later_q


@triton.jit
def _load(pointer: tl.tensor, mask: tl.tensor) -> tl.tensor:
    return tl.load(pointer, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def _place(
    order: tl.tensor, length: int, channels: int, CHUNK: tl.constexpr, BLOCK: tl.constexpr
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """What this program works on: chunk, pixel (CHUNK,), inside (CHUNK,), channel (BLOCK,), live (BLOCK,)."""
    blocks = tl.cdiv(channels, BLOCK)
    chunk = tl.program_id(0) // blocks
    channel = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    step = chunk * CHUNK + tl.arange(0, CHUNK)
    inside = step < length
    # 64 bits, since pixels times channels can pass 2³¹ in a large image.
    pixel = tl.load(order + tl.program_id(1) * length + step, mask=inside, other=0).to(tl.int64)
    return chunk, pixel, inside, channel, channel < channels


@triton.jit
def _step_input(
    row: tl.tensor,
    dt_weight: tl.tensor,
    dt_bias: tl.tensor,
    channels: int,
    inside: tl.tensor,
    channel: tl.tensor,
    live: tl.tensor,
    R: tl.constexpr,
) -> tl.tensor:
    """dt_weight · r + dt_bias for each step and channel; `row` points at each pixel's projections."""
    k = tl.program_id(1)
    bias = _load(dt_bias + k * channels + channel, live)
    v = tl.zeros([inside.shape[0], channel.shape[0]], tl.float32) + bias[None, :]
    for i in range(R):
        weight = _load(dt_weight + (k * R + i) * channels + channel, live)
        v += _load(row + i, inside)[:, None] * weight[None, :]
    return v


@triton.jit(do_not_specialize=_RUNTIME_SIZES)
def summary(
    source: tl.tensor,  # u (B, L, D), or with ADJOINT the gradient of y (B, K, L, D)
    projections: tl.tensor,  # (B, L, K, R + 2N)
    dt_weight: tl.tensor,  # (K, R, D)
    dt_bias: tl.tensor,  # (K, D)
    A: tl.tensor,  # (K, N, D)
    order: tl.tensor,  # (K, L)
    local: tl.tensor,  # out (B, K, chunks, N, D): state after each chunk, from 0; ADJOINT: gradient of that before
    time: tl.tensor,  # out (B, K, chunks, D): sum of Δ; not written with ADJOINT
    length: int,
    channels: int,
    chunks: int,
    R: tl.constexpr,
    N: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
    ADJOINT: tl.constexpr,
) -> None:
    """What each chunk contributes by itself, and the time that passes in it."""
    chunk, pixel, inside, channel, live = _place(order, length, channels, CHUNK, BLOCK)
    path = tl.program_id(2).to(tl.int64) * tl.num_programs(1) + tl.program_id(1)
    pixel_of_batch = tl.program_id(2).to(tl.int64) * length + pixel
    row = projections + (pixel_of_batch * tl.num_programs(1) + tl.program_id(1)) * (R + 2 * N)
    tile = inside[:, None] & live[None, :]

    v = _step_input(row, dt_weight, dt_bias, channels, inside, channel, live, R)
    delta = tl.where(inside[:, None], _softplus(v), 0.0)
    # Each step's share in the summary decays over the time from it to the chunk's end (ADJOINT: beginning). These sums
    # begin at that end, since rounding matters most where little has decayed.
    if ADJOINT:
        gate = row + R + N
        flow = _load(source + (path * length + pixel)[:, None] * channels + channel[None, :], tile)
        reach = tl.cumsum(delta, axis=0)
    else:
        gate = row + R
        flow = _load(source + pixel_of_batch[:, None] * channels + channel[None, :], tile) * delta
        reach = tl.cumsum(delta, axis=0, reverse=True) - delta
        tl.store(time + (path * chunks + chunk) * channels + channel, tl.sum(delta, axis=0), mask=live)
    for n in range(N):
        rate = _LOG2_E * _load(A + (tl.program_id(1) * N + n) * channels + channel, live)
        share = tl.exp2(reach * rate[None, :]) * flow * _load(gate + n, inside)[:, None]
        tl.store(local + ((path * chunks + chunk) * N + n) * channels + channel, tl.sum(share, axis=0), mask=live)


@triton.jit(do_not_specialize=_RUNTIME_SIZES)
def carry(
    time: tl.tensor,  # (B, K, chunks, D)
    local: tl.tensor,  # (B, K, chunks, N, D)
    A: tl.tensor,  # (K, N, D)
    first: tl.tensor,  # out (B, K, chunks, N, D): state before each chunk; ADJOINT: gradient of the state after it
    channels: int,
    chunks: int,
    N: tl.constexpr,
    TILE: tl.constexpr,
    BLOCK: tl.constexpr,
    ADJOINT: tl.constexpr,
) -> None:
    """Join the chunks' contributions along each path, TILE chunks at once."""
    channel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    live = channel < channels
    k = tl.program_id(1) // N
    n = tl.program_id(1) % N
    path = tl.program_id(2).to(tl.int64) * (tl.num_programs(1) // N) + k
    rate = _LOG2_E * _load(A + (k * N + n) * channels + channel, live)

    state = tl.zeros([BLOCK], tl.float32)
    begin = chunks - 1 if ADJOINT else 0
    tl.store(first + ((path * chunks + begin) * N + n) * channels + channel, state, mask=live)
    for start in range(0, chunks, TILE):
        i = start + tl.arange(0, TILE)
        chunk = path * chunks + (chunks - 1 - i if ADJOINT else i)
        tile = (i < chunks)[:, None] & live[None, :]
        decay = tl.exp2(_load(time + chunk[:, None] * channels + channel[None, :], tile) * rate[None, :])
        inflow = _load(local + (chunk * N + n)[:, None] * channels + channel[None, :], tile)
        decays, states = tl.associative_scan((decay, inflow), 0, _then)
        states += decays * state[None, :]
        following = chunk - 1 if ADJOINT else chunk + 1
        target = first + (following * N + n)[:, None] * channels + channel[None, :]
        tl.store(target, states, mask=(i + 1 < chunks)[:, None] & live[None, :])
        state = tl.sum(tl.where((tl.arange(0, TILE) == TILE - 1)[:, None], states, 0.0), axis=0)


@triton.jit(do_not_specialize=_RUNTIME_SIZES)
def output(
    u: tl.tensor,  # (B, L, D)
    projections: tl.tensor,  # (B, L, K, R + 2N)
    dt_weight: tl.tensor,  # (K, R, D)
    dt_bias: tl.tensor,  # (K, D)
    A: tl.tensor,  # (K, N, D)
    skip: tl.tensor,  # (K, D)
    order: tl.tensor,  # (K, L)
    first: tl.tensor,  # (B, K, chunks, N, D): state before each chunk
    y: tl.tensor,  # out (B, K, L, D)
    length: int,
    channels: int,
    chunks: int,
    R: tl.constexpr,
    N: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Each chunk from its true first state: y."""
    chunk, pixel, inside, channel, live = _place(order, length, channels, CHUNK, BLOCK)
    k = tl.program_id(1)
    path = tl.program_id(2).to(tl.int64) * tl.num_programs(1) + k
    pixel_of_batch = tl.program_id(2).to(tl.int64) * length + pixel
    row = projections + (pixel_of_batch * tl.num_programs(1) + k) * (R + 2 * N)
    tile = inside[:, None] & live[None, :]

    v = _step_input(row, dt_weight, dt_bias, channels, inside, channel, live, R)
    delta = tl.where(inside[:, None], _softplus(v), 0.0)
    x = _load(u + pixel_of_batch[:, None] * channels + channel[None, :], tile)
    total = _load(skip + k * channels + channel, live)[None, :] * x
    flow = delta * x
    for n in range(N):
        rate = _LOG2_E * _load(A + (k * N + n) * channels + channel, live)
        decay = tl.exp2(delta * rate[None, :])
        decays, states = tl.associative_scan((decay, flow * _load(row + R + n, inside)[:, None]), 0, _then)
        before = _load(first + ((path * chunks + chunk) * N + n) * channels + channel, live)
        total += _load(row + R + N + n, inside)[:, None] * (states + decays * before[None, :])
    target = y + (path * length + pixel)[:, None] * channels + channel[None, :]
    tl.store(target, total.to(y.dtype.element_ty), mask=tile)


@triton.jit(do_not_specialize=_RUNTIME_SIZES)
def gradient(
    grad_y: tl.tensor,  # (B, K, L, D)
    u: tl.tensor,  # (B, L, D)
    projections: tl.tensor,  # (B, L, K, R + 2N)
    dt_weight: tl.tensor,  # (K, R, D)
    dt_bias: tl.tensor,  # (K, D)
    A: tl.tensor,  # (K, N, D)
    skip: tl.tensor,  # (K, D)
    order: tl.tensor,  # (K, L)
    first: tl.tensor,  # (B, K, chunks, N, D): state before each chunk
    last: tl.tensor,  # (B, K, chunks, N, D): gradient of the state after each chunk
    grad_u: tl.tensor,  # out (B, K, L, D), to be summed over K
    grad_projections: tl.tensor,  # out (blocks, B, L, K, R + 2N), to be summed over blocks
    grad_dt_weight: tl.tensor,  # out (B, K, chunks, R, D), this and the following to be summed over B and chunks
    grad_dt_bias: tl.tensor,  # out (B, K, chunks, D)
    grad_A: tl.tensor,  # out (B, K, chunks, N, D)
    grad_skip: tl.tensor,  # out (B, K, chunks, D)
    length: int,
    channels: int,
    chunks: int,
    R: tl.constexpr,
    N: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Each chunk from its true first state and last gradient: the gradients of all inputs."""
    # Longer than most functions: its parts share a dozen tiles that live in registers.
    chunk, pixel, inside, channel, live = _place(order, length, channels, CHUNK, BLOCK)
    k = tl.program_id(1)
    path = tl.program_id(2).to(tl.int64) * tl.num_programs(1) + k
    pixel_of_batch = tl.program_id(2).to(tl.int64) * length + pixel
    projection = (pixel_of_batch * tl.num_programs(1) + k) * (R + 2 * N)
    row = projections + projection
    block = tl.program_id(0) % tl.cdiv(channels, BLOCK)
    all_rows = tl.num_programs(2).to(tl.int64) * length * tl.num_programs(1)
    grad_row = grad_projections + block * all_rows * (R + 2 * N) + projection
    at_chunk = path * chunks + chunk
    at_pixels = (path * length + pixel)[:, None] * channels + channel[None, :]
    tile = inside[:, None] & live[None, :]

    v = _step_input(row, dt_weight, dt_bias, channels, inside, channel, live, R)
    delta = tl.where(inside[:, None], _softplus(v), 0.0)
    x = _load(u + pixel_of_batch[:, None] * channels + channel[None, :], tile)
    g = _load(grad_y + at_pixels, tile)
    grad_flow = tl.zeros_like(x)
    grad_delta = tl.zeros_like(x)
    for n in range(N):
        rate = _LOG2_E * _load(A + (k * N + n) * channels + channel, live)
        b = _load(row + R + n, inside)
        c = _load(row + R + N + n, inside)
        decay = tl.exp2(delta * rate[None, :])
        inflow = delta * x * b[:, None]
        decays, states = tl.associative_scan((decay, inflow), 0, _then)
        states += decays * _load(first + (at_chunk * N + n) * channels + channel, live)[None, :]
        alone = (decay, tl.full(x.shape, 1.0, tl.float32), g * c[:, None])
        _, through, q = tl.associative_scan(alone, 0, _before, reverse=True)
        q += through * _load(last + (at_chunk * N + n) * channels + channel, live)[None, :]

        tl.store(grad_row + R + n, tl.sum(q * delta * x, axis=1), mask=inside)
        tl.store(grad_row + R + N + n, tl.sum(g * states, axis=1), mask=inside)
        kept = q * (states - inflow)  # states - inflow is decay times the state before
        tl.store(grad_A + (at_chunk * N + n) * channels + channel, tl.sum(kept * delta, axis=0), mask=live)
        grad_delta += kept * rate[None, :]
        grad_flow += q * b[:, None]

    weight = _load(skip + k * channels + channel, live)
    tl.store(grad_u + at_pixels, grad_flow * delta + g * weight[None, :], mask=tile)
    tl.store(grad_skip + at_chunk * channels + channel, tl.sum(g * x, axis=0), mask=live)
    grad_v = tl.where(inside[:, None], (grad_delta * _LN_2 + grad_flow * x) * tl.sigmoid(v), 0.0)
    tl.store(grad_dt_bias + at_chunk * channels + channel, tl.sum(grad_v, axis=0), mask=live)
    for i in range(R):
        weight = _load(dt_weight + (k * R + i) * channels + channel, live)
        tl.store(grad_row + i, tl.sum(grad_v * weight[None, :], axis=1), mask=inside)
        of_weight = tl.sum(grad_v * _load(row + i, inside)[:, None], axis=0)
        tl.store(grad_dt_weight + (at_chunk * R + i) * channels + channel, of_weight, mask=live)
