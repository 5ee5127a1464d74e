"""Stand-in for mamba-ssm's compiled module `selective_scan_cuda`, without a GPU: as strict, and right.

It refuses what selective_scan.cpp of mamba-ssm 2.3 refuses (types, shapes, strides, a missing x), except
that tensors must only share a device, and returns what that returns: the same number of tensors, in the same types.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK = 2048  # the kernel keeps one state per this many positions


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise RuntimeError(f"Expected {what} to be true, but got false.")


def _check_last_stride(name: str, tensor: Tensor) -> None:
    _require(tensor.stride(-1) == 1 or tensor.shape[-1] == 1, f"{name}.stride(-1) == 1")


def _check_shape(name: str, tensor: Tensor, *shape: int) -> None:
    _require(tuple(tensor.shape) == shape, f"{name} has shape {shape}, not {tuple(tensor.shape)}")


def _check(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, bias: Tensor | None) -> None:
    _require(u.dtype in (torch.float32, torch.float16, torch.bfloat16), "u is float32, float16 or bfloat16")
    _require(A.dtype in (torch.float32, torch.complex64), "A is float32 or complex64")
    _require(A.dtype == torch.float32, "A is real (this stand-in computes nothing else)")
    _require(B.dim() == C.dim() == 4, "B and C vary along the sequence (this stand-in computes nothing else)")
    _require(delta.dtype == B.dtype == C.dtype == u.dtype, "delta, B and C have the type of u")
    batch, dim, length = u.shape
    states, groups = A.shape[1], B.shape[1]
    _require(states <= 256, "selective_scan only supports state dimension <= 256")
    _check_shape("delta", delta, batch, dim, length)
    _check_shape("A", A, dim, states)
    _require(dim % groups == 0, "dim is a multiple of groups")
    for name, tensor in (("B", B), ("C", C)):
        _check_shape(name, tensor, batch, groups, states, length)
    for name, tensor in (("u", u), ("delta", delta), ("B", B), ("C", C)):
        _check_last_stride(name, tensor)
        _require(tensor.device == u.device, f"{name} is on the device of u")
    for name, vector in (("D", D), ("delta_bias", bias)):
        if vector is not None:
            _require(vector.dtype == torch.float32, f"{name} is float32")
            _check_last_stride(name, vector)
            _check_shape(name, vector, dim)


def _scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, bias: Tensor | None, softplus: bool
) -> tuple[Tensor, list[Tensor]]:
    """Result in float32 and the states after each chunk of `CHUNK` positions."""
    u, delta, B, C = (tensor.float() for tensor in (u, delta, B, C))
    delta = delta if bias is None else delta + bias[:, None]
    delta = F.softplus(delta) if softplus else delta
    batch, dim, length = u.shape
    B, C = (tensor.repeat_interleave(dim // tensor.shape[1], dim=1) for tensor in (B, C))
    state = u.new_zeros(batch, dim, A.shape[1])
    outputs, kept = [], []
    for t in range(length):
        decay = torch.exp(delta[:, :, t, None] * A)
        state = decay * state + (delta[:, :, t] * u[:, :, t])[..., None] * B[..., t]
        outputs.append((state * C[..., t]).sum(-1))
        if (t + 1) % CHUNK == 0 or t + 1 == length:
            kept.append(state)
    out = torch.stack(outputs, dim=2)
    return out if D is None else out + u * D[:, None], kept


def fwd(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D_: Tensor | None,
    z_: Tensor | None,
    delta_bias_: Tensor | None,
    delta_softplus: bool,
) -> list[Tensor]:
    """fwd(arg0: torch.Tensor, arg1: …, arg7: torch.Tensor | None, arg8: bool) -> list[torch.Tensor]"""
    _check(u, delta, A, B, C, D_, delta_bias_)
    _require(z_ is None, "z is absent (this stand-in computes nothing else)")
    with torch.no_grad():
        out, kept = _scan(u, delta, A, B, C, D_, delta_bias_, delta_softplus)
    x = torch.full((*u.shape[:2], len(kept), 2 * A.shape[1]), float("nan"))
    x[..., 1::2] = torch.stack(kept, dim=2)
    return [torch.empty_like(delta).copy_(out), x]


def bwd(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D_: Tensor | None,
    z_: Tensor | None,
    delta_bias_: Tensor | None,
    dout: Tensor,
    x_: Tensor | None,
    out_: Tensor | None,
    dz_: Tensor | None,
    delta_softplus: bool,
    recompute_out_z: bool,
) -> list[Tensor]:
    """bwd(arg0: torch.Tensor, arg1: …, arg12: bool, arg13: bool) -> list[torch.Tensor]"""
    _check(u, delta, A, B, C, D_, delta_bias_)
    _require(z_ is None and out_ is None and dz_ is None and not recompute_out_z, "there is no gate z")
    _require(D_ is not None and delta_bias_ is not None, "D and delta_bias are given (this stand-in needs them)")
    _require(dout.dtype == u.dtype, "dout has the type of u")
    _check_last_stride("dout", dout)
    _check_shape("dout", dout, *u.shape)
    chunks = -(-u.shape[2] // CHUNK)
    _require(chunks == 1 or x_ is not None, "x is given")
    if x_ is not None:
        _require(x_.dtype == A.dtype and x_.is_contiguous(), "x is contiguous and has the type of A")
        _check_shape("x", x_, *u.shape[:2], chunks, 2 * A.shape[1])
    with torch.enable_grad():
        leaves = [t.detach().requires_grad_() for t in (u, delta, A, B, C, D_, delta_bias_) if t is not None]
        out, _ = _scan(*[*leaves, delta_softplus])  # type: ignore[arg-type]
        return list(torch.autograd.grad(out, leaves, dout.float()))
