"""The scan as operators of PyTorch: what they tell compilers is true."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scan_cases import ScanCase, scan_inputs

import mair_cli.scan.operators  # noqa: F401 - registers them
from mair_cli.scan.parallel import parallel_scan
from mair_cli.scan.reference import reference_scan

CASE = ScanCase(batch=2, height=3, width=5, channels=4, states=2, rank=1)


def arguments() -> list[torch.Tensor]:
    *tensors, order = scan_inputs(CASE)
    return [*(tensor.requires_grad_() for tensor in tensors), order]


def gate() -> list[torch.Tensor]:
    shuffled = 4 * CASE.channels
    return [torch.randn(shuffled, 4, 1, 1, requires_grad=True), torch.randn(shuffled, requires_grad=True)]


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_shapes_without_computing_gradients_and_tracing_agree_with_what_is_computed(backend: str) -> None:
    """PyTorch's own check of a custom operator."""
    cases: dict[Any, tuple[Any, ...]] = {
        torch.ops.mair.selective_scan.default: (*arguments(), backend),
        torch.ops.mair.merged_scan.default: (*gate(), *arguments(), backend),
    }
    for operator, values in cases.items():
        torch.library.opcheck(operator, values)


def test_orders_are_an_operator_too() -> None:
    torch.library.opcheck(torch.ops.mair.scan_orders.default, (3, 5, 2, True, "nested", torch.device("cpu")))


@pytest.mark.parametrize("case", [CASE, ScanCase(batch=1, height=1, width=1, channels=2, states=3, rank=2)])
def test_the_scan_without_a_loop_agrees_with_the_reference(case: ScanCase) -> None:
    inputs = scan_inputs(case)
    torch.testing.assert_close(parallel_scan(inputs), reference_scan(inputs), rtol=1e-4, atol=1e-5)
