"""Optimisers that `training.optimizer` names.

`adam` and `adamw` are the usual choice. `muon` (Jordan et al., "Muon", 2024; part of PyTorch) replaces the update
of each weight matrix by the nearest orthogonal one, so that all its directions are learnt at the same pace; all other
parameters (scan, norms, biases, first and last convolution) stay with Adam. Its steps are scaled to the size of Adam's
(Liu et al., "Muon is scalable for LLM training", 2025), so that one learning rate serves both.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from mair_cli.training.config import TrainingSettings


class Optimizers:
    """Several optimisers, each for its own parameters, used as one."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts

    def set_learning_rate(self, rate: float) -> None:
        """The learning rate of the next steps."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = rate

    def step(self) -> None:
        """Change the parameters by their gradients."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> list[dict[str, Any]]:
        """What has to be saved, one entry for each part."""
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Take back what `state_dict` gave; raises ValueError when it belongs to other optimisers."""
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)


class _MatrixMuon(torch.optim.Muon):
    """Muon for convolutions too: their weights (out, in, 3, 3) count as matrices (out, in · 9), as Jordan proposes."""

    def __init__(self, weights: list[nn.Parameter], learning_rate: float, weight_decay: float) -> None:
        self._weights = weights
        self._matrices = [nn.Parameter(weight.detach().view(len(weight), -1)) for weight in weights]
        super().__init__(self._matrices, lr=learning_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for weight, matrix in zip(self._weights, self._matrices, strict=True):
            matrix.grad = None if weight.grad is None else weight.grad.flatten(1)
        super().step(closure)


def make_optimizers(settings: TrainingSettings, network: nn.Module) -> Optimizers:
    """The optimiser that `settings` names, for the parameters of `network` (on their device already)."""
    matrices = _inner_matrices(network) if settings.optimizer == "muon" else []
    taken = {id(weight) for weight in matrices}
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    adam = kind(
        [parameter for parameter in network.parameters() if id(parameter) not in taken],
        lr=settings.learning_rate,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    if not matrices:
        return Optimizers(adam)
    return Optimizers(adam, _MatrixMuon(matrices, settings.learning_rate, settings.weight_decay))


def _inner_matrices(network: nn.Module) -> list[nn.Parameter]:
    """Weights of linear layers and 3×3 convolutions among features: neither depthwise ones nor those at pixels."""
    return [
        module.weight
        for module in network.modules()
        if isinstance(module, nn.Linear)
        or (isinstance(module, nn.Conv2d) and module.groups == 1 and module.in_channels == module.out_channels)
    ]
