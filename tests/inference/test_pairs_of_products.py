"""Products of bfloat16 in pairs against NumPy, with PyTorch's rounding. Whole networks: test_form.py."""

from __future__ import annotations

import numba as nb
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mair_cli.inference.kinds import computes_in_pairs
from mair_cli.inference.pairs import as_pairs, match_rows, round_row
from mair_cli.inference.tile import pack, padded, product
from mair_cli.scan.cpu.simd import LANES

Floats = NDArray[np.float32]

with_instructions = pytest.mark.skipif(not computes_in_pairs(), reason="the processor has no AVX512-BF16")


def rounded(values: Floats) -> Floats:
    return torch.from_numpy(values).bfloat16().float().numpy()


def unpacked(pairs: Floats) -> Floats:
    """(…, n) words as (…, 2 · n) numbers, a pair's side by side."""
    words = np.ascontiguousarray(pairs).view(np.uint32)
    both = np.stack([words << 16, words & 0xFFFF0000], axis=-1).view(np.float32)
    return both.reshape(*pairs.shape[:-1], -1)


def test_weights_are_rounded_as_pytorch_rounds_and_paired_row_by_row() -> None:
    table = np.random.default_rng(0).standard_normal((5, 7), np.float32)
    table[0, :3] = (0.0, 1 + 2**-8, 1 + 3 * 2**-8)  # ties go to even
    pairs = as_pairs(table)
    assert pairs.shape == (3, 7)
    columns = unpacked(pairs.T).T
    np.testing.assert_array_equal(columns[:5], rounded(table))
    assert not columns[5].any()


@nb.njit
def _round(a, i, width, s, o):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    round_row(a, i, width, s, o)


@nb.njit
def _match(w, s, o, rows, width):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    match_rows(w, s, o, rows, width)


@with_instructions
@pytest.mark.parametrize("width", [16, 32, 48, 112])
def test_rows_are_rounded_likewise_and_nothing_beside_them(width: int) -> None:
    row = np.random.default_rng(width).standard_normal(width + 20, np.float32)
    room = padded(-(-width // 2))
    out = np.full(room + LANES, 7, np.float32)
    _round(row, 3, width, out, 0)
    numbers = unpacked(out[:room])
    np.testing.assert_array_equal(numbers[:width], rounded(row[3 : 3 + width]))
    assert not numbers[width:].any()
    assert (out[room:] == 7).all()


@with_instructions
@pytest.mark.parametrize(
    ("M", "K", "N"), [(1, 1, 1), (5, 3, 16), (6, 64, 64), (13, 20, 70), (48, 33, 130), (7, 128, 17)]
)
def test_products_of_pairs_equal_those_of_rounded_numbers(M: int, K: int, N: int) -> None:
    rng = np.random.default_rng(M * K + N)
    a, weight, bias = (rng.standard_normal(shape, np.float32) for shape in ((M, K), (N, K), (N,)))
    width, wide = padded(K), padded(N)
    rows = np.zeros((M, width), np.float32)
    rows[:, :K] = a
    out = np.full((M + 1, wide + LANES), 7, np.float32)
    packed, scratch = pack(weight, bias, pairs=True).view(np.uint32), rows.ravel()
    _match(packed, scratch, 0, M, width)
    product(scratch, 0, width, M, packed, 0, K, wide // LANES, out.ravel(), 0, wide + LANES)
    expected = rounded(a).astype(np.float64) @ rounded(weight).T + bias
    np.testing.assert_allclose(out[:M, :N], expected, atol=2e-5)
    assert not out[:M, N:wide].any(), "padding channels stay zero"
    assert (out[:M, wide:] == 7).all()
    assert (out[M] == 7).all()
