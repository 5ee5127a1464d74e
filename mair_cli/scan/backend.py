"""What a back end of the selective scan is. A new one is a file with a `BACKEND`, and a row in `registry`'s table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from mair_cli.scan.inputs import Gate, ScanInputs

CARRIED: Final = 50
"""Rank of a back end that computes on another device than the tensors', to which they are carried and back."""
LAST_RESORT: Final = 100
"""Rank of what is so slow that one should know why nothing better is used."""


class Backend(ABC):
    """One way to compute a selective scan."""

    @abstractmethod
    def rank(self, device: str) -> int | None:
        """Place among the back ends for tensors on a type of device: `auto` takes the lowest that works.

        None: it takes no tensors from there. Above `LAST_RESORT`: on request only.
        """

    @abstractmethod
    def unavailable(self) -> str | None:
        """Why it cannot be used on this machine, and the way out, in one line; None if it can."""

    @abstractmethod
    def scan(self, inputs: ScanInputs) -> Tensor:
        """Scan in all directions: (B, K, L, D) on the inputs' device, pixels in image order; differentiable."""

    def merged_scan(self, inputs: ScanInputs, gate: Gate) -> Tensor:
        """`scan` and `shuffle_attention`: (B, L, D). Overridden where both together cost less."""
        return shuffle_attention(self.scan(inputs), gate)

    def place(self, device: str) -> str:
        """Type of the device on which it computes for tensors on `device`."""
        return device


def shuffle_attention(y: Tensor, gate: Gate) -> Tensor:
    """Sequence shuffle attention in plain PyTorch: weigh the directions against each other, channel by channel.

    Args:
        y: (B, K, L, D) from the scan.
        gate: maps the means over pixels to the directions' weights.

    Returns:
        (B, L, D): Σₖ weight[k, d] · y[k, :, d]. Source: network.md, 3.
    """
    batch, directions, _, channels = y.shape
    pooled = y.mean(dim=2).transpose(1, 2).reshape(batch, -1, 1, 1).to(gate.weight.dtype)
    weight = torch.sigmoid(F.conv2d(pooled, *gate, groups=channels)).view(batch, channels, directions)
    return (y * weight.transpose(1, 2).unsqueeze(2)).sum(dim=1)
