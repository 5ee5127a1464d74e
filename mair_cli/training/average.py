"""Exponential moving average of a network's weights: what is measured and exported."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)

# The average of the first steps follows the network closely: 1/10 of the past at once, then ever more.
WARM_UP = 10


class WeightAverage(Generic[Module]):
    """Follows a network: after each step `average ← decay · average + (1 - decay) · weights`.

    Attributes:
        network: a copy of the followed network, in eval mode and without gradients, that holds the average.
        decay: 0 makes it a plain copy of the latest weights.
    """

    def __init__(self, network: Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: Module, step: int) -> None:
        """Take in the weights after step `step` (0 is the first). While young, the average forgets faster."""
        decay = min(self.decay, (1 + step) / (WARM_UP + step)) if self.decay else 0.0
        mine = [parameter.data for parameter in self.network.parameters()]
        theirs = [parameter.data for parameter in network.parameters()]
        torch._foreach_lerp_(mine, theirs, 1 - decay)
