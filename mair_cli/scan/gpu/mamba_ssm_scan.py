"""The selective scan by the compiled kernel of mamba-ssm, where that is installed. Glossary: `mair_cli.scan.inputs`.

The kernel wants every sequence laid out along its path, (B, K·D, L), so inputs are gathered into scan order and its
output is put back. Only its compiled module `selective_scan_cuda` is used: the Python package around it loads much
else. What the module accepts and returns: csrc/selective_scan/selective_scan.cpp of state-spaces/mamba, the same in all
of 2.2 and 2.3.
"""

from __future__ import annotations

import importlib
import re
from types import ModuleType
from typing import Final

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from mair_cli.errors import BackendError
from mair_cli.scan.backend import Backend
from mair_cli.scan.inputs import ScanInputs

_MODULE: Final = "selective_scan_cuda"
_ARGUMENTS: Final = {"fwd": 9, "bwd": 14}
_MOST_STATES: Final = 256
_MOST_ELEMENTS: Final = 2**32  # the kernel's offsets are 32 bits wide


class MambaSsmBackend(Backend):
    """Computes on NVIDIA and AMD GPUs."""

    def rank(self, device: str) -> int | None:
        """First on a GPU, nowhere else."""
        return 0 if device == "cuda" else None

    def unavailable(self) -> str | None:
        """Whether there is a GPU, and a module that loads and has the known signatures."""
        if not torch.cuda.is_available():
            return "it needs a GPU that PyTorch can use, and there is none. Choose `backend` numba or reference."
        try:
            module = _compiled_module()
        except ModuleNotFoundError:
            return (
                "mamba-ssm's compiled module is not installed. Run 'pip install --no-build-isolation mamba-ssm' "
                "(needs the CUDA compiler), or choose `backend` triton."
            )
        except (ImportError, OSError) as error:
            reason = " ".join(str(error).split())[:160]
            return (
                f"{_MODULE} does not load ({reason}). Reinstall mamba-ssm for this PyTorch, or choose `backend` triton."
            )
        for name, expected in _ARGUMENTS.items():
            found = _argument_count(getattr(module, name, None))
            if found not in (None, expected):
                return (
                    f"this {_MODULE}.{name} takes {found} arguments instead of {expected}. "
                    "Install mamba-ssm 2.2 or 2.3, or choose `backend` triton."
                )
        return None

    def scan(self, inputs: ScanInputs) -> Tensor:
        """As `Backend.scan`, computed in float32; the result has the type of `u`.

        Raises:
            BackendError: too many states, or too much data for the kernel's 32-bit offsets.
        """
        u, projections, dt_weight, dt_bias, A, skip, order = inputs
        batch, length, channels = u.shape
        directions, states = dt_weight.shape[0], inputs.states
        if states > _MOST_STATES:
            raise BackendError(
                f"mamba-ssm computes at most {_MOST_STATES} states, not {states}; choose `backend` triton."
            )
        if batch * directions * channels * length >= _MOST_ELEMENTS:
            raise BackendError("The batch is too large for mamba-ssm; choose a smaller `tile` or `backend` triton.")

        with torch.autocast(u.device.type, enabled=False):
            paths = order.long()
            along = _visit(projections.float().permute(0, 2, 3, 1), paths)
            r, b, c = along.split([inputs.rank, states, states], dim=2)
            step_input = torch.matmul(dt_weight.float(), r)
            values = _visit(u.float().transpose(1, 2).unsqueeze(1).expand(-1, directions, -1, -1), paths)
            y: Tensor = _KernelScan.apply(  # type: ignore[no-untyped-call]
                values.flatten(1, 2),
                step_input.flatten(1, 2),
                A.float().flatten(0, 1),
                b,
                c,
                skip.float().flatten(),
                dt_bias.float().flatten(),
            )
            back = torch.empty_like(paths).scatter_(1, paths, torch.arange(length, device=u.device).expand_as(paths))
            in_image = _visit(y.unflatten(1, (directions, channels)), back)
            return in_image.transpose(2, 3).to(u.dtype).contiguous()


BACKEND = MambaSsmBackend()


def _compiled_module() -> ModuleType:
    return importlib.import_module(_MODULE)


def _argument_count(function: object) -> int | None:
    """Number of arguments of a compiled function, by its docstring; 0 if it is missing, None if nothing is said."""
    if function is None:
        return 0
    numbers = re.findall(r"\barg(\d+):", getattr(function, "__doc__", None) or "")
    return max(map(int, numbers)) + 1 if numbers else None


def _visit(rows: Tensor, paths: Tensor) -> Tensor:
    """Reorder the positions of (B, K, any, L) by `paths` (K, L) int64; contiguous."""
    return rows.gather(3, paths[None, :, None, :].expand(rows.shape))


class _KernelScan(torch.autograd.Function):
    """The compiled kernel and its gradient; float32, u and step_input (B, K·D, L), A (K·D, N), b and c (B, K, N, L)."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        u: Tensor,
        step_input: Tensor,
        A: Tensor,
        b: Tensor,
        c: Tensor,
        skip: Tensor,
        dt_bias: Tensor,
    ) -> Tensor:
        # No gate z; the kernel adds the bias and applies the softplus.
        out, boundaries, *_ = _compiled_module().fwd(u, step_input, A, b, c, skip, None, dt_bias, True)
        ctx.save_for_backward(u, step_input, A, b, c, skip, dt_bias, boundaries)
        return out  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, ...]:
        u, step_input, A, b, c, skip, dt_bias, boundaries = ctx.saved_tensors  # type: ignore[attr-defined]
        gradients = _compiled_module().bwd(
            u, step_input, A, b, c, skip, None, dt_bias, grad.contiguous(), boundaries, None, None, True, False
        )
        grad_u, grad_step, grad_A, grad_b, grad_c, grad_skip, grad_bias, *_ = gradients
        return grad_u, grad_step, grad_A, grad_b, grad_c, grad_skip, grad_bias
