"""The selective scan without a loop over positions, for runtimes that know PyTorch's common operators only.

After the step of width s each position holds what the 2·s positions up to it come to, so ⌈log₂ L⌉ steps do (Hillis and
Steele, 1986). That is more work than walking, and holds B·K·L·D·N numbers at once: for tiles, not photographs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mair_cli.scan.inputs import ScanInputs


def parallel_scan(inputs: ScanInputs) -> Tensor:
    """As `reference.reference_scan`: (B, K, L, D), pixels in image order."""
    u, projections, dt_weight, dt_bias, A, skip, order = inputs
    length, (directions, channels, rank) = u.shape[1], dt_weight.shape
    visits = order.long()[None, :, :, None]
    x = _along(u.unsqueeze(1).expand(-1, directions, -1, -1), visits)
    r, b, c = _along(projections.transpose(1, 2), visits).split([rank, inputs.states, inputs.states], dim=-1)
    delta = F.softplus(torch.matmul(r, dt_weight.transpose(1, 2)) + dt_bias.unsqueeze(1))
    decay = torch.exp(delta.unsqueeze(-1) * A.unsqueeze(1))
    state = (delta * x).unsqueeze(-1) * b.unsqueeze(-2)
    step = 1
    while step < length:
        state = torch.cat([state[:, :, :step], state[:, :, step:] + decay[:, :, step:] * state[:, :, :-step]], dim=2)
        decay = torch.cat([decay[:, :, :step], decay[:, :, step:] * decay[:, :, :-step]], dim=2)
        step *= 2
    path = (state * c.unsqueeze(-2)).sum(-1) + skip.unsqueeze(1) * x
    return torch.zeros_like(path).scatter(2, visits.expand(u.shape[0], -1, -1, channels), path)


def _along(rows: Tensor, visits: Tensor) -> Tensor:
    """Rows (B, K, L, any) in the order in which `visits` (1, K, L, 1) names them."""
    return torch.gather(rows, 2, visits.expand(rows.shape[0], -1, -1, rows.shape[-1]))
