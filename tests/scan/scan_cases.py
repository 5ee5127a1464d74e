"""Inputs for the selective scan, and how far a back end is from the reference: for tests and measurements on GPUs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from torch import Tensor

from mair_cli.scan.inputs import ScanInputs
from mair_cli.scan.orders import scan_orders
from mair_cli.scan.reference import reference_scan

INPUTS: Final = ("u", "projections", "dt_weight", "dt_bias", "A", "skip")


class ScanCase(NamedTuple):
    """Sizes of one scan."""

    batch: int
    height: int
    width: int
    channels: int
    states: int
    rank: int


def scan_inputs(case: ScanCase, device: str = "cpu", seed: int = 0) -> ScanInputs:
    """What a scan takes, such as a trained network may have: step sizes from 0.001 to a few units."""
    random = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=random)

    length = case.height * case.width
    rates = torch.arange(1.0, case.states + 1) * (0.5 + torch.rand(4, case.channels, case.states, generator=random))
    inputs = ScanInputs(
        normal(case.batch, length, case.channels),
        normal(case.batch, length, 4, case.rank + 2 * case.states),
        normal(4, case.channels, case.rank) * case.rank**-0.5,
        normal(4, case.channels) * 2 - 3,
        -rates,
        normal(4, case.channels),
        torch.from_numpy(scan_orders(case.height, case.width, 4, True).copy()),
    )
    return inputs.to(torch.device(device))


def differences(scan: Callable[[ScanInputs], Tensor], inputs: ScanInputs, gradients: bool = True) -> dict[str, float]:
    """Largest difference from the reference in float64, in `y` and each gradient, relative to its largest element."""
    *values, order = inputs
    exact = [tensor.detach().double().requires_grad_() for tensor in values]
    leaves = [tensor.detach().requires_grad_() for tensor in values]
    expected = reference_scan(ScanInputs(*[*exact, order]))
    y = scan(ScanInputs(*[*leaves, order]))
    found = {"y": _difference(y.detach(), expected.detach())}
    if gradients:
        weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y)
        wanted = torch.autograd.grad(expected, exact, weights.double())
        for name, g, w in zip(INPUTS, torch.autograd.grad(y, leaves, weights), wanted, strict=True):
            found[name] = _difference(g, w)
    return found


def _difference(found: Tensor, wanted: Tensor) -> float:
    # Floor: with one pixel the decay rates have no influence, and their gradient is 0, give or take a rounding.
    return float((found - wanted).abs().max() / wanted.abs().max().clamp_min(1e-2))
