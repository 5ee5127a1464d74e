"""The back ends against the reference: results and gradients, over odd shapes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mair_cli.errors import BackendError
from mair_cli.scan.dispatch import merged_scan, resolve_backend, selective_scan
from mair_cli.scan.orders import scan_orders

# batch, height, width, D, N, R: fewer channels than a vector, exactly one, more than a chunk; single pixels and rows
SHAPES = [(1, 1, 1, 5, 1, 1), (2, 3, 5, 16, 3, 2), (1, 9, 4, 66, 1, 4), (3, 5, 6, 33, 16, 1), (1, 4, 4, 150, 2, 3)]


def _inputs(shape: tuple[int, ...], seed: int = 0) -> list[Tensor]:
    batch, height, width, channels, states, rank = shape
    random = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=random)

    length = height * width
    return [
        normal(batch, length, channels),
        normal(batch, length, 4, rank + 2 * states),
        normal(4, channels, rank) * 0.5,
        normal(4, channels) - 2,
        -torch.exp(normal(4, channels, states)),
        normal(4, channels),
        torch.from_numpy(scan_orders(height, width, 4, True).copy()),
        normal(4 * channels, 4, 1, 1),
        normal(4 * channels),
    ]


@pytest.mark.parametrize("shape", SHAPES)
def test_numba_scan_equals_the_reference(shape: tuple[int, ...]) -> None:
    inputs = _inputs(shape)[:7]
    expected = selective_scan(*inputs, backend="reference")
    torch.testing.assert_close(selective_scan(*inputs, backend="numba"), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_numba_gradients_equal_those_of_the_reference(shape: tuple[int, ...], merged: bool) -> None:
    function = merged_scan if merged else selective_scan

    def gradients(backend: str) -> list[Tensor]:
        inputs = _inputs(shape)[: None if merged else 7]
        leaves = [tensor.requires_grad_() for i, tensor in enumerate(inputs) if i != 6]
        out = function(*inputs, backend=backend)
        weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
        return list(torch.autograd.grad((out * weights).sum(), leaves))

    for actual, expected in zip(gradients("numba"), gradients("reference"), strict=True):
        scale = max(float(expected.abs().max()), 1e-3)
        torch.testing.assert_close(actual / scale, expected / scale, atol=1e-5, rtol=0)


def test_extreme_inputs_stay_finite() -> None:
    inputs = _inputs((1, 4, 4, 20, 2, 2))[:7]
    inputs[3] = torch.linspace(-90, 90, 80).view(4, 20)
    inputs[4] = inputs[4] * 1e4
    expected = selective_scan(*inputs, backend="reference")
    torch.testing.assert_close(selective_scan(*inputs, backend="numba"), expected, atol=1e-4, rtol=1e-5)


def test_result_does_not_depend_on_the_number_of_threads() -> None:
    inputs = _inputs((2, 6, 7, 40, 4, 2))[:7]
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(selective_scan(*inputs, backend="numba"))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(results[0], other) for other in results[1:])


def test_auto_takes_numba_on_a_cpu() -> None:
    assert resolve_backend("auto", torch.device("cpu")) == "numba"


def test_unknown_back_end_is_refused_by_name() -> None:
    with pytest.raises(BackendError, match="tritn"):
        resolve_backend("tritn", torch.device("cpu"))


SCRIPT = """
import torch
from mair_cli.scan.dispatch import selective_scan
x = torch.ones(1, 4, 3)
p = torch.full((1, 4, 4, 3), 0.5)
order = torch.arange(4, dtype=torch.int32).expand(4, 4).contiguous()
one = torch.ones(4, 3, 1)
y = selective_scan(x, p, one, torch.zeros(4, 3), -one, torch.ones(4, 3), order, backend="numba")
print(f"{float(y.sum()):.4f}")
"""


@pytest.mark.parametrize("threads", ["1", "7"])
def test_scan_works_with_a_read_only_cache_and_any_thread_setting(tmp_path: Path, threads: str) -> None:
    cache = tmp_path / "not-a-folder"
    cache.write_text("")
    expected = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "NUMBA_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout == expected
    assert np.isfinite(float(expected))


def test_gradients_flow_under_bfloat16_autocast() -> None:
    inputs = [
        tensor.requires_grad_() if tensor.is_floating_point() else tensor for tensor in _inputs((1, 4, 4, 20, 2, 2))
    ]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = merged_scan(*inputs, backend="numba") @ torch.ones(20, 3)
    out.float().sum().backward()
    gradient = inputs[0].grad
    assert gradient is not None
    assert bool(torch.isfinite(gradient).all())
