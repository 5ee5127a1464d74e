"""The scan as operators of PyTorch: what `torch.compile` and `torch.export` see of it is one node of their graph.

Each has a *fake*, which says the shape of the result without computing it, and gradients, for which the scan runs once
more. Outside of compiling nothing goes this way. Glossary in `mair_cli.scan.inputs`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch
from torch import Tensor

from mair_cli.scan import dispatch
from mair_cli.scan.inputs import Gate, ScanInputs
from mair_cli.scan.orders import DIRECTIONS
from mair_cli.scan.orders import scan_orders as make_orders

__all__ = ["compiled_merged_scan", "compiled_orders", "compiled_scan"]


def compiled_scan(inputs: ScanInputs, backend: str) -> Tensor:
    """`dispatch.selective_scan` as one node."""
    y: Tensor = _selective_scan(*inputs, backend)
    return y


def compiled_merged_scan(inputs: ScanInputs, gate: Gate, backend: str) -> Tensor:
    """`dispatch.merged_scan` as one node."""
    y: Tensor = _merged_scan(*gate, *inputs, backend)
    return y


def compiled_orders(height: int, width: int, stripe: int, shifted: bool, pattern: str, device: torch.device) -> Tensor:
    """`orders.scan_orders` as one node: (K, L) int32 on `device`."""
    order: Tensor = _scan_orders(height, width, stripe, shifted, pattern, device)
    return order


@torch.library.custom_op("mair::scan_orders", mutates_args=())
def _scan_orders(height: int, width: int, stripe: int, shifted: bool, pattern: str, device: torch.device) -> Tensor:
    # A copy: compilers write other things into what a node gave, once it has been used.
    return torch.from_numpy(make_orders(height, width, stripe, shifted, pattern).copy()).to(device)


@_scan_orders.register_fake
def _(height: int, width: int, stripe: int, shifted: bool, pattern: str, device: torch.device) -> Tensor:
    return torch.empty(DIRECTIONS, height * width, dtype=torch.int32, device=device)


@torch.library.custom_op("mair::selective_scan", mutates_args=())
def _selective_scan(
    u: Tensor,
    projections: Tensor,
    dt_weight: Tensor,
    dt_bias: Tensor,
    A: Tensor,
    skip: Tensor,
    order: Tensor,
    backend: str,
) -> Tensor:
    inputs = ScanInputs(u, projections, dt_weight, dt_bias, A, skip, order)
    return dispatch.selective_scan(inputs, backend=backend).contiguous()


@_selective_scan.register_fake
def _(u: Tensor, projections: Tensor, dt_weight: Tensor, *_: object) -> Tensor:
    batch, length, channels = u.shape
    return u.new_empty(batch, dt_weight.shape[0], length, channels)


@torch.library.custom_op("mair::selective_scan_gradients", mutates_args=())
def _selective_scan_gradients(gradient: Tensor, tensors: Sequence[Tensor], order: Tensor, backend: str) -> list[Tensor]:
    return _gradients(
        lambda leaves: dispatch.selective_scan(ScanInputs(*[*leaves, order]), backend=backend), tensors, gradient
    )


@torch.library.custom_op("mair::merged_scan", mutates_args=())
def _merged_scan(
    gate_weight: Tensor,
    gate_bias: Tensor,
    u: Tensor,
    projections: Tensor,
    dt_weight: Tensor,
    dt_bias: Tensor,
    A: Tensor,
    skip: Tensor,
    order: Tensor,
    backend: str,
) -> Tensor:
    inputs = ScanInputs(u, projections, dt_weight, dt_bias, A, skip, order)
    return dispatch.merged_scan(inputs, Gate(gate_weight, gate_bias), backend=backend).contiguous()


@_merged_scan.register_fake
def _(gate_weight: Tensor, gate_bias: Tensor, u: Tensor, *_: object) -> Tensor:
    return torch.empty_like(u, memory_format=torch.contiguous_format)


@torch.library.custom_op("mair::merged_scan_gradients", mutates_args=())
def _merged_scan_gradients(gradient: Tensor, tensors: Sequence[Tensor], order: Tensor, backend: str) -> list[Tensor]:
    def run(leaves: list[Tensor]) -> Tensor:
        gate, scanned = Gate(*leaves[:2]), ScanInputs(*[*leaves[2:], order])
        return dispatch.merged_scan(scanned, gate, backend=backend)

    return _gradients(run, tensors, gradient)


@_selective_scan_gradients.register_fake
@_merged_scan_gradients.register_fake
def _(gradient: Tensor, tensors: Sequence[Tensor], order: Tensor, backend: str) -> list[Tensor]:
    return [torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in tensors]


@cache
def _recorder() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="mair-gradients")


def _gradients(run: Callable[[list[Tensor]], Tensor], tensors: Sequence[Tensor], gradient: Tensor) -> list[Tensor]:
    """Gradients of `tensors`, given that of what `run` makes of them."""

    def record() -> list[Tensor]:
        leaves = [tensor.detach().requires_grad_() for tensor in tensors]
        found = torch.autograd.grad(run(leaves), leaves, gradient)
        return [value.contiguous() for value in found]

    # PyTorch records nothing for gradients while an operator runs; in another thread it does.
    return _recorder().submit(record).result()


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401 - PyTorch's context has no type
    *tensors, ctx.backend = inputs
    ctx.save_for_backward(*tensors)


def _through(operator: Any) -> Callable[..., tuple[Tensor | None, ...]]:  # noqa: ANN401 - PyTorch's operators have no type
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        *tensors, order = ctx.saved_tensors
        return *operator(gradient, tensors, order, ctx.backend), None, None

    return backward


_selective_scan.register_autograd(_through(_selective_scan_gradients), setup_context=_keep)
_merged_scan.register_autograd(_through(_merged_scan_gradients), setup_context=_keep)
