"""The selective scan and sequence shuffle attention in plain PyTorch, which every back end is measured against.

Glossary in `mair_cli.scan.inputs`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mair_cli.scan.backend import LAST_RESORT, Backend
from mair_cli.scan.inputs import ScanInputs


def reference_scan(inputs: ScanInputs) -> Tensor:
    """Any device, differentiable, one step per position, written to be read: (B, K, L, D), pixels in image order.

    Computed, and returned, in float32 for inputs of half precision, else in their own type.

    Source: network.md, 2; Gu and Dao 2023, algorithm 2.
    """
    *tensors, order = inputs
    kind = torch.promote_types(inputs.u.dtype, torch.float32)
    u, projections, dt_weight, dt_bias, A, skip = (tensor.to(kind) for tensor in tensors)
    batch, _, channels = u.shape
    directions, states = dt_weight.shape[0], inputs.states
    r, b, c = projections.split([inputs.rank, states, states], dim=-1)
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


class ReferenceBackend(Backend):
    """Runs everywhere, and slowly."""

    def rank(self, device: str) -> int:
        """Behind every other back end, on every device."""
        return LAST_RESORT

    def unavailable(self) -> None:
        """Never."""

    def scan(self, inputs: ScanInputs) -> Tensor:
        """As `reference_scan`."""
        return reference_scan(inputs)


BACKEND = ReferenceBackend()
