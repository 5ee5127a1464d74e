"""The parts of the inference form against NumPy and PyTorch: products, convolutions, activations."""

from __future__ import annotations

import numba as nb
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from mair_cli.inference import winograd
from mair_cli.inference.activations import GATED, LEAKY, NOTHING, SILU
from mair_cli.inference.tile import pack, padded, product
from mair_cli.scan.cpu.simd import LANES, gelu, load, sigmoid, store

Floats = NDArray[np.float32]


@pytest.mark.parametrize(
    ("M", "K", "N"), [(1, 1, 1), (5, 3, 16), (6, 64, 64), (13, 20, 70), (48, 33, 130), (7, 128, 17)]
)
def test_products_equal_numpys_and_write_nothing_beside(M: int, K: int, N: int) -> None:
    rng = np.random.default_rng(M * K + N)
    a, weight, bias = (rng.standard_normal(shape, np.float32) for shape in ((M, K + 2), (N, K), (N,)))
    wide = padded(N)
    out = np.full((M + 1, wide + LANES), 7, np.float32)
    product(a.ravel(), 1, K + 2, M, pack(weight, bias), 0, K, wide // LANES, out.ravel(), 0, wide + LANES)
    expected = a[:, 1 : K + 1].astype(np.float64) @ weight.T + bias
    np.testing.assert_allclose(out[:M, :N], expected, atol=2e-5)
    assert not out[:M, N:wide].any(), "padding channels stay zero"
    assert (out[:M, wide:] == 7).all()
    assert (out[M] == 7).all()


@nb.njit
def _convolve(jobs, a, H, W, K, w, vectors, target, residual, kind, slope, s0):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    wide_in, wide_out = (K + 15) // 16 * 16, vectors * 16
    for job in range(jobs):
        winograd.convolve(
            job, a, H, W, 0, wide_in, K, w, w, True, 0, vectors, target, wide_out, residual, wide_out, kind, slope, s0
        )  # fmt: skip


@pytest.mark.parametrize(
    ("H", "W", "K", "N"),
    [(1, 1, 3, 3), (4, 4, 16, 16), (5, 7, 20, 36), (6, 2, 1, 70), (17, 30, 5, 64), (23, 9, 64, 48)],
)
@pytest.mark.parametrize(
    ("kind", "adds"), [(NOTHING, False), (LEAKY, False), (LEAKY, True), (SILU, False), (GATED, True)]
)
def test_winograds_convolution_equals_the_plain_one(H: int, W: int, K: int, N: int, kind: int, adds: bool) -> None:
    rng = np.random.default_rng(H * W)
    image, residual = (rng.standard_normal((H, W, channels), np.float32) for channels in (K, N))
    weight, bias = (
        rng.standard_normal((N, K, 3, 3), np.float32) / np.float32(3 * K**0.5),
        rng.standard_normal(N, np.float32),
    )
    wide_in, wide_out = padded(K), padded(N)
    size_in, size_out = H * W * wide_in, H * W * wide_out
    end = size_in + 2 * size_out
    a = np.full(end + winograd.scratch_size(wide_in, wide_out), np.nan, np.float32)
    a[:size_in] = np.pad(image, ((0, 0), (0, 0), (0, wide_in - K))).ravel()
    a[size_in + size_out : end] = np.pad(residual, ((0, 0), (0, 0), (0, wide_out - N))).ravel()
    jobs = -(-(-(-H // winograd.OUT) * -(-W // winograd.OUT)) // winograd.TILES)
    _convolve(
        jobs, a, H, W, K, winograd.pack_filter(weight, bias), wide_out // LANES, size_in,
        size_in + size_out if adds else -1, kind, np.float32(0.2), end,
    )  # fmt: skip
    out = a[size_in : size_in + size_out].reshape(H, W, wide_out)
    x = torch.from_numpy(image).permute(2, 0, 1)[None].double()
    exact = F.conv2d(x, torch.from_numpy(weight).double(), torch.from_numpy(bias).double(), padding=1)
    result = exact[0].permute(1, 2, 0)
    added = result + torch.from_numpy(residual) if adds else result
    activate = {
        NOTHING: lambda: added,
        LEAKY: lambda: F.leaky_relu(added, 0.2),
        SILU: lambda: F.silu(added),
        GATED: lambda: added * (result.sigmoid() - 0.5),
    }
    np.testing.assert_allclose(out[..., :N], activate[kind](), atol=2e-5)
    assert not out[..., N:].any(), "padding channels stay zero"


@nb.njit
def _activate(x, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for i in range(0, len(x), 16):
        store(out[0], i, sigmoid(load(x, i)))
        store(out[1], i, gelu(load(x, i)))


def test_activations_are_exact_from_one_end_to_the_other() -> None:
    x = np.concatenate([np.linspace(-12, 12, 4000), [-1e4, -200, -88, 0, 88, 200, 1e4], np.zeros(9)]).astype(np.float32)
    out = np.empty((2, len(x)), np.float32)
    _activate(x, out)
    wide = torch.from_numpy(x).double()
    np.testing.assert_allclose(out[0], torch.sigmoid(wide).numpy(), atol=2e-7)
    np.testing.assert_allclose(out[1], F.gelu(wide).numpy(), atol=6e-7)
