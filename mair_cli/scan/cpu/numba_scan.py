"""The CPU back end of the selective scan: tensors to numba's kernels and back, with gradients.

Glossary in `mair_cli.scan.dispatch`; what the kernels do is in `mair_cli.scan.cpu.kernels`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mair_cli.scan.cpu import kernels
from mair_cli.scan.cpu.threads import run_jobs


def unavailable() -> str | None:
    """Why this back end cannot be used; always None, since numba is a plain dependency."""
    return None


def _kernel_inputs(
    u: Tensor, projections: Tensor, dt_weight: Tensor, dt_bias: Tensor, A: Tensor, skip: Tensor
) -> list[Tensor]:
    """Float32, contiguous, parameters with channels last: as the kernels want them."""
    tensors = (u, projections, dt_weight.transpose(1, 2), dt_bias.unsqueeze(1), A.transpose(1, 2), skip.unsqueeze(1))
    return [tensor.detach().float().contiguous() for tensor in tensors]


def _arrays(tensors: list[Tensor]) -> list[Any]:
    return [tensor.numpy() for tensor in tensors]


def _job_count(u: Tensor, order: Tensor) -> int:
    return u.shape[0] * order.shape[0] * -(-u.shape[2] // kernels.CHUNK)


def _forward(inputs: list[Tensor], order: Tensor, differentiable: bool) -> tuple[Tensor, Tensor, Tensor]:
    """y (B, K, L, D), its mean over pixels (B, K, D), and the states that the gradient needs, if there will be one."""
    u, decay = inputs[0], inputs[4]
    batch, length, channels = u.shape
    y = u.new_empty(batch, order.shape[0], length, channels)
    pooled = u.new_empty(batch, order.shape[0], channels)
    segments = -(-length // kernels.SEGMENT) if differentiable else 0
    states = u.new_empty(batch, order.shape[0], segments, decay.shape[1], channels)
    run_jobs(kernels.scan_forward, _job_count(u, order), *_arrays([*inputs, order, y, pooled, states]))
    return y, pooled / length, states


def _backward(
    inputs: list[Tensor], order: Tensor, states: Tensor, gradient: Tensor, weight: Tensor, offset: Tensor
) -> tuple[Tensor, ...]:
    """Gradients of the scan's six inputs; see `kernels.scan_backward` for how the gradient of y is given."""
    u, projections = inputs[:2]
    batch, length, channels = u.shape
    directions = order.shape[0]
    g_u = u.new_empty(batch, directions, length, channels)
    g_projections = projections.new_empty(-(-channels // kernels.CHUNK), *projections.shape)
    g_parameters = [u.new_empty(batch, *parameter.shape) for parameter in inputs[2:]]
    gradients = [tensor.float().contiguous() for tensor in (gradient, weight, offset)]
    run_jobs(
        kernels.scan_backward,
        _job_count(u, order),
        *_arrays([*inputs, order, states, *gradients, g_u, g_projections, *g_parameters]),
    )
    g_dt_weight, g_dt_bias, g_A, g_skip = (g.sum(0) for g in g_parameters)
    return (
        g_u.sum(1),
        g_projections.sum(0) if len(g_projections) > 1 else g_projections[0],
        g_dt_weight.transpose(1, 2),
        g_dt_bias.squeeze(1),
        g_A.transpose(1, 2),
        g_skip.squeeze(1),
    )


class _SelectiveScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, order: Tensor, *inputs: Tensor) -> Tensor:
        prepared = _kernel_inputs(*inputs)
        y, _, states = _forward(prepared, order, any(ctx.needs_input_grad))
        ctx.save_for_backward(order, states, *prepared)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        order, states, *inputs = ctx.saved_tensors
        ones = gradient.new_ones(gradient.shape[0], gradient.shape[1], gradient.shape[3])
        return None, *_backward(inputs, order, states, gradient, ones, torch.zeros_like(ones))


def scan(
    u: Tensor, projections: Tensor, dt_weight: Tensor, dt_bias: Tensor, A: Tensor, skip: Tensor, order: Tensor
) -> Tensor:
    """Arguments and result as in `mair_cli.scan.dispatch.selective_scan`; CPU tensors, computed in float32."""
    y: Tensor = _SelectiveScan.apply(order, u, projections, dt_weight, dt_bias, A, skip)  # type: ignore[no-untyped-call]
    return y


class _MergedScan(torch.autograd.Function):
    """Scan and sequence shuffle attention in one, so that y is written once, read once, and never has a gradient."""

    @staticmethod
    def forward(ctx: Any, order: Tensor, gate_weight: Tensor, gate_bias: Tensor, *inputs: Tensor) -> Tensor:
        prepared = _kernel_inputs(*inputs)
        y, pooled, states = _forward(prepared, order, any(ctx.needs_input_grad))
        gate_weight, gate_bias = gate_weight.detach().float(), gate_bias.detach().float()
        weight = torch.sigmoid(_gate(pooled, gate_weight, gate_bias)).contiguous()
        out = torch.empty_like(prepared[0])
        run_jobs(kernels.weigh_directions, out.shape[0] * out.shape[1], *_arrays([y, weight, out]), grain=512)
        ctx.save_for_backward(order, states, gate_weight, pooled, weight, y, *prepared)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        order, states, gate_weight, pooled, weight, y, *inputs = ctx.saved_tensors
        gradient = gradient.float().contiguous()
        g_weight = torch.empty_like(weight)
        run_jobs(kernels.pool_products, weight.shape[0] * weight.shape[1], *_arrays([y, gradient, g_weight]))
        g_gate = g_weight * weight * (1 - weight)
        channels, directions = weight.shape[2], weight.shape[1]
        taps = gate_weight.view(channels, directions, directions)
        g_pooled = torch.einsum("bjd,djk->bkd", g_gate, taps) / y.shape[2]
        g_taps = torch.einsum("bjd,bkd->djk", g_gate, pooled).reshape(gate_weight.shape)
        g_bias = g_gate.sum(0).T.reshape(-1)
        return None, g_taps, g_bias, *_backward(inputs, order, states, gradient.unsqueeze(1), weight, g_pooled)


def _gate(pooled: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The 4 → 4 map of each channel, before the sigmoid: (B, K, D) to (B, K, D)."""
    channels, directions = pooled.shape[2], pooled.shape[1]
    taps = weight.view(channels, directions, directions)
    return torch.einsum("djk,bkd->bjd", taps, pooled) + bias.view(channels, directions).T


def merged_scan(
    u: Tensor,
    projections: Tensor,
    dt_weight: Tensor,
    dt_bias: Tensor,
    A: Tensor,
    skip: Tensor,
    order: Tensor,
    gate_weight: Tensor,
    gate_bias: Tensor,
) -> Tensor:
    """Arguments and result as in `mair_cli.scan.dispatch.merged_scan`; CPU tensors, computed in float32."""
    out: Tensor = _MergedScan.apply(order, gate_weight, gate_bias, u, projections, dt_weight, dt_bias, A, skip)  # type: ignore[no-untyped-call]
    return out
