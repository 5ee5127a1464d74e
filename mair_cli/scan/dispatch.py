"""The selective scan: dispatch to a back end, and the reference that every back end is measured against.

Glossary (Gu and Dao, "Mamba", 2023; Li et al., "MaIR", CVPR 2025):
    B, L     images in the batch; positions, L = height · width
    K        scan directions (4)
    D        inner channels
    N        state size: each channel of each direction carries N numbers along its way
    R        rank of the step-size projection
    u        input of the scan, (B, L, D), pixels in image order
    r, b, c  per pixel and direction: low-rank step size, input gate B and output gate C of the state space; here
             they arrive side by side in `projections`, (B, L, K, R + N + N)
    Δ        step size, softplus(dt_weight · r + dt_bias)
    A        decay rates, negative
    h        state: h ← exp(Δ·A)·h + Δ·b·u
    skip     Mamba's D: y = c·h + skip·u

Pixels stay in image order throughout. A back end gets only the `order` in which to visit them, reads row order[l] and
writes row order[l], so that no reordered copy of the image is needed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from mair_cli.errors import BackendError

ScanFunction = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


class _Backend(NamedTuple):
    """Where a back end lives and which device it computes on (None: any)."""

    module: str | None
    device: str | None


_BACKENDS: Final[dict[str, _Backend]] = {
    "mamba-ssm": _Backend("mair_cli.scan.gpu.mamba_ssm_scan", "cuda"),
    "triton": _Backend("mair_cli.scan.gpu.triton_scan", "cuda"),
    "numba": _Backend("mair_cli.scan.cpu.numba_scan", "cpu"),
    "reference": _Backend(None, None),
}
BACKENDS: Final = tuple(_BACKENDS)
"""Names of the back ends, fastest first; `auto` takes the first that works on the tensors' device."""


def reference_scan(
    u: Tensor, projections: Tensor, dt_weight: Tensor, dt_bias: Tensor, A: Tensor, skip: Tensor, order: Tensor
) -> Tensor:
    """Selective scan in plain PyTorch: any device, differentiable, one step per position, written to be read.

    Arguments and result as in `selective_scan`. Source: network.md, 2; Gu and Dao 2023, algorithm 2.
    """
    batch, _, channels = u.shape
    directions, _, rank = dt_weight.shape
    states = A.shape[-1]
    r, b, c = projections.split([rank, states, states], dim=-1)
    delta = F.softplus(torch.einsum("blkr,kdr->blkd", r, dt_weight) + dt_bias)
    decay = torch.exp(delta.unsqueeze(-1) * A)
    inflow = (delta * u.unsqueeze(2)).unsqueeze(-1) * b.unsqueeze(-2)

    k = torch.arange(directions, device=u.device)
    visits = order.long().T
    state = u.new_zeros(batch, directions, channels, states)
    along_path = []
    for pixels in visits:
        state = decay[:, pixels, k] * state + inflow[:, pixels, k]
        along_path.append(torch.einsum("bkdn,bkn->bkd", state, c[:, pixels, k]))
    path = torch.stack(along_path, dim=2)
    y = torch.zeros_like(path).scatter(2, visits.T[None, :, :, None].expand_as(path), path)
    return y + skip.unsqueeze(1) * u.unsqueeze(1)


def selective_scan(
    u: Tensor,
    projections: Tensor,
    dt_weight: Tensor,
    dt_bias: Tensor,
    A: Tensor,
    skip: Tensor,
    order: Tensor,
    *,
    backend: str = "auto",
) -> Tensor:
    """Scan an image along K directions at once.

    Args:
        u: (B, L, D) inputs, pixels in image order.
        projections: (B, L, K, R + 2N): for each pixel and direction the low-rank step size, B and C.
        dt_weight: (K, D, R) step-size projection.
        dt_bias: (K, D) its bias.
        A: (K, D, N) decay rates, negative.
        skip: (K, D) weight of the input in the output.
        order: (K, L) int32, on the same device: row k lists the pixels 0 … L - 1 as direction k visits them.
        backend: one of `BACKENDS`, or `auto`.

    Returns:
        (B, K, L, D): what each direction says of each pixel, pixels in image order.

    Raises:
        BackendError: the back end is unknown, or cannot run here.
    """
    return _scan_function(resolve_backend(backend, u.device))(u, projections, dt_weight, dt_bias, A, skip, order)


def shuffle_attention(y: Tensor, gate_weight: Tensor, gate_bias: Tensor) -> Tensor:
    """Sequence shuffle attention in plain PyTorch: weigh the directions against each other, channel by channel.

    Args:
        y: (B, K, L, D) from the scan.
        gate_weight: (D · K, K, 1, 1), a 1×1 convolution with D groups: group d maps directions to directions.
        gate_bias: (D · K,).

    Returns:
        (B, L, D): Σₖ weight[k, d] · y[k, :, d]. Source: network.md, 3.
    """
    batch, directions, _, channels = y.shape
    pooled = y.mean(dim=2).transpose(1, 2).reshape(batch, -1, 1, 1)
    weight = torch.sigmoid(F.conv2d(pooled, gate_weight, gate_bias, groups=channels)).view(batch, channels, directions)
    return (y * weight.transpose(1, 2).unsqueeze(2)).sum(dim=1)


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
    *,
    backend: str = "auto",
) -> Tensor:
    """`selective_scan` followed by `shuffle_attention`, in one where the back end can: (B, L, D)."""
    name = resolve_backend(backend, u.device)
    if name == "numba":
        from mair_cli.scan.cpu import numba_scan

        return numba_scan.merged_scan(u, projections, dt_weight, dt_bias, A, skip, order, gate_weight, gate_bias)
    y = _scan_function(name)(u, projections, dt_weight, dt_bias, A, skip, order)
    return shuffle_attention(y, gate_weight, gate_bias)


def resolve_backend(name: str, device: torch.device) -> str:
    """Name of the back end that `name` (one of `BACKENDS`, or `auto`) stands for on `device`; cached.

    Raises:
        BackendError: unknown name, or a forced back end that cannot run here; says why and what to do.
    """
    return _resolve(name, device.type)


@cache
def _resolve(name: str, device: str) -> str:
    if name == "auto":
        usable = (n for n, backend in _BACKENDS.items() if backend.device in (None, device))
        return next(n for n in usable if backend_status(n) is None)
    if name not in _BACKENDS:
        raise BackendError(f"Unknown back end {name!r}; choose auto or one of {', '.join(BACKENDS)}.")
    obstacle = backend_status(name)
    required = _BACKENDS[name].device
    # Triton's interpreter runs on CPU tensors what the compiled kernel runs on a GPU; on request only: it is slow.
    interpreted = name == "triton" and device == "cpu" and not torch.cuda.is_available()
    if obstacle is None and required not in (None, device) and not interpreted:
        obstacle = f"it computes on {required}, not on {device}. Choose --device {required} or another --backend."
    if obstacle is not None:
        raise BackendError(f"The back end {name!r} cannot be used: {obstacle}")
    return name


def backend_status(name: str) -> str | None:
    """Why the back end cannot be used on this machine, and the way out; None if it can."""
    module = _BACKENDS[name].module
    if module is None:
        return None
    return cast("str | None", importlib.import_module(module).unavailable())


@cache
def _scan_function(name: str) -> ScanFunction:
    module = _BACKENDS[name].module
    return reference_scan if module is None else cast(ScanFunction, importlib.import_module(module).scan)
