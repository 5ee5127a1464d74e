"""The back ends against the reference: results and gradients, over odd shapes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mair_cli.scan.dispatch import merged_scan, selective_scan
from mair_cli.scan.inputs import Gate, ScanInputs
from mair_cli.scan.orders import scan_orders

# batch, height, width, D, N, R: fewer channels than a vector, exactly one, more than a chunk; single pixels and rows
SHAPES = [(1, 1, 1, 5, 1, 1), (2, 3, 5, 16, 3, 2), (1, 9, 4, 66, 1, 4), (3, 5, 6, 33, 16, 1), (1, 4, 4, 150, 2, 3)]


def _inputs(shape: tuple[int, ...], seed: int = 0) -> ScanInputs:
    batch, height, width, channels, states, rank = shape
    random = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=random)

    length = height * width
    return ScanInputs(
        normal(batch, length, channels),
        normal(batch, length, 4, rank + 2 * states),
        normal(4, channels, rank) * 0.5,
        normal(4, channels) - 2,
        -torch.exp(normal(4, channels, states)),
        normal(4, channels),
        torch.from_numpy(scan_orders(height, width, 4, True).copy()),
    )


def _gate(channels: int) -> Gate:
    random = torch.Generator().manual_seed(1)
    return Gate(torch.randn(4 * channels, 4, 1, 1, generator=random), torch.randn(4 * channels, generator=random))


@pytest.mark.parametrize("shape", SHAPES)
def test_numba_scan_equals_the_reference(shape: tuple[int, ...]) -> None:
    inputs = _inputs(shape)
    expected = selective_scan(inputs, backend="reference")
    torch.testing.assert_close(selective_scan(inputs, backend="numba"), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_numba_gradients_equal_those_of_the_reference(shape: tuple[int, ...], merged: bool) -> None:
    def gradients(backend: str) -> list[Tensor]:
        inputs, gate = _inputs(shape), _gate(shape[3])
        leaves = [t.requires_grad_() for t in (*inputs, *(gate if merged else ())) if t.is_floating_point()]
        scan = merged_scan(inputs, gate, backend=backend) if merged else selective_scan(inputs, backend=backend)
        weights = torch.randn(scan.shape, generator=torch.Generator().manual_seed(1))
        return list(torch.autograd.grad((scan * weights).sum(), leaves))

    for actual, expected in zip(gradients("numba"), gradients("reference"), strict=True):
        scale = max(float(expected.abs().max()), 1e-3)
        torch.testing.assert_close(actual / scale, expected / scale, atol=1e-5, rtol=0)


def test_extreme_inputs_stay_finite() -> None:
    inputs = _inputs((1, 4, 4, 20, 2, 2))
    inputs = replace(inputs, dt_bias=torch.linspace(-90, 90, 80).view(4, 20), A=inputs.A * 1e4)
    expected = selective_scan(inputs, backend="reference")
    torch.testing.assert_close(selective_scan(inputs, backend="numba"), expected, atol=1e-4, rtol=1e-5)


def test_result_does_not_depend_on_the_number_of_threads() -> None:
    inputs = _inputs((2, 6, 7, 40, 4, 2))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(selective_scan(inputs, backend="numba"))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(results[0], other) for other in results[1:])


def test_gradients_flow_under_bfloat16_autocast() -> None:
    inputs = _inputs((1, 4, 4, 20, 2, 2))
    inputs.u.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = merged_scan(inputs, _gate(20), backend="numba") @ torch.ones(20, 3)
    out.float().sum().backward()
    gradient = inputs.u.grad
    assert gradient is not None
    assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_states_that_only_gradients_need_are_not_kept_without_them(
    merged: bool, mode: Callable[[], AbstractContextManager[object]]
) -> None:
    """Parameters require gradients whether or not anybody will ask for them."""
    states = 256  # more than all else together
    inputs, gate = _inputs((1, 8, 8, 16, states, 1)), _gate(16)
    inputs.A.requires_grad_()
    with _Allocated() as training:
        merged_scan(inputs, gate) if merged else selective_scan(inputs)
    with mode(), _Allocated() as inference:
        merged_scan(inputs, gate) if merged else selective_scan(inputs)
    kept = 4 * 2 * states * 16  # directions, segments of 32 positions, N, D
    assert training.values - inference.values == kept
    assert inference.largest_new < kept


class _Allocated(TorchDispatchMode):
    """Counts the numbers in tensors that are made without a value, as those are that kernels write to."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.values = self.largest_new = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if "empty" in str(func):
            self.values += result.numel()
            self.largest_new = max(self.largest_new, result.numel())
        return result


@pytest.mark.parametrize("name", ["projections", "dt_weight", "dt_bias", "A", "skip", "order"])
def test_a_tensor_that_does_not_fit_the_others_is_refused_by_name(name: str) -> None:
    inputs = _inputs((2, 3, 5, 16, 3, 2))
    wrong = torch.cat([getattr(inputs, name)] * 2, dim=1)
    with pytest.raises(ValueError, match=f"{name} .*not"):
        replace(inputs, **{name: wrong})
