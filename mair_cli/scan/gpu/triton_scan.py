"""The selective scan on a GPU by Triton kernels of our own, forward and backward. Glossary: `mair_cli.scan.inputs`.

Besides its arguments the gradient keeps nothing: the states between chunks are computed anew, which costs less than a
second copy of `y` held by every block of the network.
"""

from __future__ import annotations

import os
import subprocess
from types import ModuleType
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from mair_cli.errors import BackendError
from mair_cli.scan.backend import LAST_RESORT, Backend
from mair_cli.scan.inputs import ScanInputs

_OLDEST_CAPABILITY: Final = (7, 0)


class Tiling(NamedTuple):
    """How the work is cut. Every size is a power of two; none changes the result beyond rounding."""

    forward_chunk: int = 32
    backward_chunk: int = 16  # shorter: the gradient holds twice as many tiles in registers
    block: int = 32  # channels per program, one per thread of a warp, so that no step along the path crosses threads
    carry_tile: int = 32  # chunks that `carry` reads at once


DEFAULT_TILING: Final = Tiling()
# Fused multiply-adds are worth a third of the time, and Triton is about to switch them off unless asked.
_LAUNCH: Final = {"num_warps": 1, "enable_fp_fusion": True}


class TritonBackend(Backend):
    """Computes on NVIDIA and AMD GPUs.

    With TRITON_INTERPRET=1 set before Triton's first import, the kernels run on the CPU, slowly, for tests.
    """

    def rank(self, device: str) -> int | None:
        """Second on a GPU; on a CPU, interpreted, on request only."""
        if device == "cpu" and os.environ.get("TRITON_INTERPRET") == "1":
            return LAST_RESORT + 1
        return 1 if device == "cuda" else None

    def unavailable(self) -> str | None:
        """Whether Triton is there and starts on this GPU."""
        try:
            kernels = _kernels()
        except ImportError as error:
            return f"Triton cannot be imported ({error}). Run 'pip install triton', or choose another `backend`."
        if _interpreted(kernels):
            return None
        if not torch.cuda.is_available():
            return "it needs a GPU that PyTorch can use, and there is none. Choose `backend` numba or reference."
        if torch.version.hip is None and torch.cuda.get_device_capability() < _OLDEST_CAPABILITY:
            return (
                f"Triton does not support {torch.cuda.get_device_name()}. Choose `backend` reference or `device` cpu."
            )
        return _launcher_obstacle()

    def scan(self, inputs: ScanInputs) -> Tensor:
        """As `Backend.scan`, computed in float32; the result has the type of `u`.

        Raises:
            BackendError: the tensors are not on a GPU (and Triton does not interpret).
        """
        if not inputs.u.is_cuda and not _interpreted(_kernels()):
            raise BackendError(f"Triton computes on a GPU, not on {inputs.u.device.type}; choose another `backend`.")
        return scan_tiled(inputs, DEFAULT_TILING)


BACKEND = TritonBackend()


def _launcher_obstacle() -> str | None:
    """Triton compiles a small launcher in C on first use; None if that works."""
    import triton

    try:
        triton.runtime.driver.active.get_current_target()
    except (RuntimeError, OSError, ImportError, AssertionError, subprocess.CalledProcessError) as error:
        reason = " ".join(str(error).split())[:160]
        return f"Triton cannot start ({reason}). Install a C compiler such as gcc, or choose `backend` reference."
    return None


def scan_tiled(inputs: ScanInputs, tiling: Tiling) -> Tensor:
    """`TritonBackend.scan` with a tiling of one's own, for tests and measurements."""
    y: Tensor = _TritonScan.apply(tiling, *inputs)  # type: ignore[no-untyped-call]
    return y


class _Problem(NamedTuple):
    """The tensors as the kernels want them: contiguous, channels last in every weight."""

    u: Tensor  # (B, L, D)
    projections: Tensor  # (B, L, K, R + 2N)
    dt_weight: Tensor  # (K, R, D)
    dt_bias: Tensor  # (K, D)
    A: Tensor  # (K, N, D)
    skip: Tensor  # (K, D)
    order: Tensor  # (K, L)

    @classmethod
    def prepare(cls, inputs: ScanInputs) -> _Problem:
        u, projections, dt_weight, dt_bias, A, skip, order = inputs
        across = (u, projections, dt_weight.transpose(1, 2), dt_bias, A.transpose(1, 2), skip, order)
        return cls(*(tensor.contiguous() for tensor in across))

    def chunks(self, size: int) -> int:
        return -(-self.u.shape[1] // size)

    def blocks(self, size: int) -> int:
        return -(-self.u.shape[2] // size)

    def per_chunk(self, chunk: int, *sizes: int) -> Tensor:
        """Float32 scratch (B, K, chunks, *sizes, D)."""
        batch, _, channels = self.u.shape
        shape = (batch, self.order.shape[0], self.chunks(chunk), *sizes, channels)
        return self.u.new_empty(shape, dtype=torch.float32)


class _TritonScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, tiling: Tiling, *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs)
        ctx.tiling = tiling  # type: ignore[attr-defined]
        with torch.cuda.device_of(inputs[0]):
            return _forward(_Problem.prepare(ScanInputs(*inputs)), tiling)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors  # type: ignore[attr-defined]
        with torch.cuda.device_of(grad_y):
            gradients = _backward(_Problem.prepare(ScanInputs(*inputs)), grad_y.contiguous(), ctx.tiling)  # type: ignore[attr-defined]
        return (None, *(g.to(t.dtype) for g, t in zip(gradients, inputs, strict=False)), None)


def _forward(problem: _Problem, tiling: Tiling) -> Tensor:
    batch, length, channels = problem.u.shape
    directions, states, _ = problem.A.shape
    first, _ = _boundaries(problem, None, None, tiling, tiling.forward_chunk)
    y = problem.u.new_empty(batch, directions, length, channels)
    chunks = problem.chunks(tiling.forward_chunk)
    _kernels().output[(chunks * problem.blocks(tiling.block), directions, batch)](
        *problem,
        first,
        y,
        length,
        channels,
        chunks,
        R=problem.dt_weight.shape[1],
        N=states,
        CHUNK=tiling.forward_chunk,
        BLOCK=tiling.block,
        **_LAUNCH,
    )
    return y


def _backward(problem: _Problem, grad_y: Tensor, tiling: Tiling) -> tuple[Tensor, ...]:
    """Gradients of u, projections, dt_weight, dt_bias, A and skip, in float32."""
    batch, length, channels = problem.u.shape
    directions, states, _ = problem.A.shape
    rank, chunk = problem.dt_weight.shape[1], tiling.backward_chunk
    chunks, blocks = problem.chunks(chunk), problem.blocks(tiling.block)
    first, time = _boundaries(problem, None, None, tiling, chunk)
    last, _ = _boundaries(problem, grad_y, time, tiling, chunk)
    grad_u = torch.empty_like(grad_y, dtype=torch.float32)
    grad_projections = grad_u.new_empty(blocks, *problem.projections.shape)
    grad_dt_weight, grad_A = problem.per_chunk(chunk, rank), problem.per_chunk(chunk, states)
    grad_dt_bias, grad_skip = problem.per_chunk(chunk), problem.per_chunk(chunk)
    _kernels().gradient[(chunks * blocks, directions, batch)](
        grad_y,
        *problem,
        first,
        last,
        grad_u,
        grad_projections,
        grad_dt_weight,
        grad_dt_bias,
        grad_A,
        grad_skip,
        length,
        channels,
        chunks,
        R=rank,
        N=states,
        CHUNK=chunk,
        BLOCK=tiling.block,
        **_LAUNCH,
    )
    of_weights = (grad_dt_weight.sum((0, 2)).transpose(1, 2), grad_dt_bias.sum((0, 2)))
    of_scan = (grad_A.sum((0, 2)).transpose(1, 2), grad_skip.sum((0, 2)))
    return (grad_u.sum(1), grad_projections.sum(0), *of_weights, *of_scan)


def _boundaries(
    problem: _Problem, grad_y: Tensor | None, time: Tensor | None, tiling: Tiling, chunk: int
) -> tuple[Tensor, Tensor]:
    """State before each chunk, or with `grad_y` and `time` the gradient of the state after it; and each chunk's Δ."""
    batch, length, channels = problem.u.shape
    directions, states, _ = problem.A.shape
    chunks, blocks, adjoint = problem.chunks(chunk), problem.blocks(tiling.block), grad_y is not None
    local, boundary = problem.per_chunk(chunk, states), problem.per_chunk(chunk, states)
    time = problem.per_chunk(chunk) if time is None else time
    _kernels().summary[(chunks * blocks, directions, batch)](
        problem.u if grad_y is None else grad_y,
        problem.projections,
        problem.dt_weight,
        problem.dt_bias,
        problem.A,
        problem.order,
        local,
        time,
        length,
        channels,
        chunks,
        R=problem.dt_weight.shape[1],
        N=states,
        CHUNK=chunk,
        BLOCK=tiling.block,
        ADJOINT=adjoint,
        **_LAUNCH,
    )
    _kernels().carry[(blocks, directions * states, batch)](
        time,
        local,
        problem.A,
        boundary,
        channels,
        chunks,
        N=states,
        TILE=tiling.carry_tile,
        BLOCK=tiling.block,
        ADJOINT=adjoint,
        **_LAUNCH,
    )
    return boundary, time


def _kernels() -> ModuleType:
    """The kernels' module, loaded on first use, since Triton is there only where PyTorch was built for a GPU."""
    from mair_cli.scan.gpu import triton_kernels

    return triton_kernels


def _interpreted(kernels: ModuleType) -> bool:
    from triton.runtime.interpreter import InterpretedFunction

    return isinstance(kernels.summary, InterpretedFunction)
