"""The CPU back end of the selective scan: tensors to numba's kernels and back, with gradients.

Glossary in `mair_cli.scan.inputs`; what the kernels do is in `mair_cli.scan.cpu.kernels`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mair_cli.scan.backend import CARRIED, Backend
from mair_cli.scan.cpu.threads import run_jobs
from mair_cli.scan.inputs import Gate, ScanInputs


class NumbaBackend(Backend):
    """Computes on the CPU, in float32; tensors of devices without a kernel of their own are carried there and back."""

    def rank(self, device: str) -> int:
        """First on a CPU. Elsewhere before the reference: that visits one pixel at a time, whatever the device."""
        return 0 if device == "cpu" else CARRIED

    def unavailable(self) -> str | None:
        """numba is a plain dependency, but the environment can keep it from working."""
        try:
            import numba
        except (ImportError, ValueError, RuntimeError, OSError) as error:
            reason = " ".join(str(error).split())[:160].rstrip(".")
            return f"numba does not load ({reason}). Check the NUMBA_ variables, or choose `backend` reference."
        if numba.config.DISABLE_JIT:
            return "NUMBA_DISABLE_JIT forbids compiling. Unset it, or choose `backend` reference."
        return None

    def place(self, device: str) -> str:
        """Always the CPU."""
        return "cpu"

    def scan(self, inputs: ScanInputs) -> Tensor:
        """As `Backend.scan`."""
        here = inputs.to(_CPU)
        y: Tensor = (
            _SelectiveScan.apply(*here)  # type: ignore[no-untyped-call]
            if here.needs_gradient
            else _forward(_kernel_inputs(here), here.order, keep_states=False)[0]
        )
        return y.to(inputs.u.device)

    def merged_scan(self, inputs: ScanInputs, gate: Gate) -> Tensor:
        """Scan and sequence shuffle attention in one, so that y is written once and read once."""
        here, weights = inputs.to(_CPU), gate.to(_CPU)
        out: Tensor = (
            _MergedScan.apply(*weights, *here)  # type: ignore[no-untyped-call]
            if here.needs_gradient or gate.needs_gradient
            else _merge(_kernel_inputs(here), here.order, weights, keep_states=False)[0]
        )
        return out.to(inputs.u.device)


BACKEND = NumbaBackend()
_CPU = torch.device("cpu")


def _kernels() -> ModuleType:
    """The kernels' module, loaded on first use: numba takes a moment, and a GPU needs none of it."""
    from mair_cli.scan.cpu import kernels

    return kernels


def _kernel_inputs(inputs: ScanInputs) -> list[Tensor]:
    """All but the order: float32, contiguous, parameters with channels last, as the kernels want them."""
    u, projections, dt_weight, dt_bias, A, skip, _ = inputs
    tensors = (u, projections, dt_weight.transpose(1, 2), dt_bias.unsqueeze(1), A.transpose(1, 2), skip.unsqueeze(1))
    return [tensor.detach().float().contiguous() for tensor in tensors]


def _arrays(tensors: list[Tensor]) -> list[Any]:
    return [tensor.numpy() for tensor in tensors]


def _job_count(u: Tensor, order: Tensor) -> int:
    chunks: int = -(-u.shape[2] // _kernels().CHUNK)
    return u.shape[0] * order.shape[0] * chunks


def _forward(inputs: list[Tensor], order: Tensor, keep_states: bool) -> tuple[Tensor, Tensor, Tensor]:
    """y (B, K, L, D), its mean over pixels (B, K, D), and the states that only gradients need, if they are kept."""
    u, decay = inputs[0], inputs[4]
    batch, length, channels = u.shape
    y = u.new_empty(batch, order.shape[0], length, channels)
    pooled = u.new_empty(batch, order.shape[0], channels)
    segments = -(-length // _kernels().SEGMENT) if keep_states else 0
    states = u.new_empty(batch, order.shape[0], segments, decay.shape[1], channels)
    run_jobs(_kernels().scan_forward, _job_count(u, order), *_arrays([*inputs, order, y, pooled, states]))
    return y, pooled / length, states


def _backward(
    inputs: list[Tensor], order: Tensor, states: Tensor, gradient: Tensor, weight: Tensor, offset: Tensor
) -> tuple[Tensor, ...]:
    """Gradients of the scan's six inputs; see `kernels.scan_backward` for how the gradient of y is given."""
    u, projections = inputs[:2]
    batch, length, channels = u.shape
    directions = order.shape[0]
    g_u = u.new_empty(batch, directions, length, channels)
    g_projections = projections.new_empty(-(-channels // _kernels().CHUNK), *projections.shape)
    g_parameters = [u.new_empty(batch, *parameter.shape) for parameter in inputs[2:]]
    gradients = [tensor.float().contiguous() for tensor in (gradient, weight, offset)]
    run_jobs(
        _kernels().scan_backward,
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
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        scan = ScanInputs(*inputs)
        prepared = _kernel_inputs(scan)
        y, _, states = _forward(prepared, scan.order, keep_states=True)
        ctx.save_for_backward(scan.order, states, *prepared)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        order, states, *inputs = ctx.saved_tensors
        ones = gradient.new_ones(gradient.shape[0], gradient.shape[1], gradient.shape[3])
        return *_backward(inputs, order, states, gradient, ones, torch.zeros_like(ones)), None


class _MergedScan(torch.autograd.Function):
    """Scan and sequence shuffle attention in one, where y never has a gradient."""

    @staticmethod
    def forward(ctx: Any, gate_weight: Tensor, gate_bias: Tensor, *inputs: Tensor) -> Tensor:
        scan = ScanInputs(*inputs)
        prepared = _kernel_inputs(scan)
        out, kept = _merge(prepared, scan.order, Gate(gate_weight, gate_bias), keep_states=True)
        ctx.save_for_backward(scan.order, *kept, *prepared)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        order, states, gate_weight, pooled, weight, y, *inputs = ctx.saved_tensors
        gradient = gradient.float().contiguous()
        g_weight = torch.empty_like(weight)
        run_jobs(_kernels().pool_products, weight.shape[0] * weight.shape[1], *_arrays([y, gradient, g_weight]))
        g_gate = g_weight * weight * (1 - weight)
        channels, directions = weight.shape[2], weight.shape[1]
        taps = gate_weight.view(channels, directions, directions)
        g_pooled = torch.einsum("bjd,djk->bkd", g_gate, taps) / y.shape[2]
        g_taps = torch.einsum("bjd,bkd->djk", g_gate, pooled).reshape(gate_weight.shape)
        g_bias = g_gate.sum(0).T.reshape(-1)
        return g_taps, g_bias, *_backward(inputs, order, states, gradient.unsqueeze(1), weight, g_pooled), None


def _merge(
    inputs: list[Tensor], order: Tensor, gate: Gate, keep_states: bool
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
    """(B, L, D), and what its gradient needs: states, the gate's weight, means over pixels, directions' weights, y."""
    y, pooled, states = _forward(inputs, order, keep_states)
    gate_weight, gate_bias = gate.weight.detach().float(), gate.bias.detach().float()
    channels, directions = pooled.shape[2], pooled.shape[1]
    taps = gate_weight.view(channels, directions, directions)
    opening = torch.einsum("djk,bkd->bjd", taps, pooled) + gate_bias.view(channels, directions).T
    weight = torch.sigmoid(opening).contiguous()
    out = torch.empty_like(inputs[0])
    run_jobs(_kernels().weigh_directions, out.shape[0] * out.shape[1], *_arrays([y, weight, out]), grain=512)
    return out, (states, gate_weight, pooled, weight, y)
