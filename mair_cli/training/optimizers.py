"""Optimisers that `training.optimizer` names.

`adam` and `adamw` are the usual choice. `muon` replaces the update of each weight matrix by the nearest orthogonal one,
so that all its directions are learnt at the same pace; all other parameters (scan, norms, biases, first and last
convolution) stay with Adam.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

from mair_cli.training.recipe import TrainingSettings


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


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised (Jordan et al., "Muon", 2024), for weights of linear layers and convolutions.

    A convolution's weight (out, in, 3, 3) counts as a matrix (out, in · 9). Steps are scaled to the size of Adam's (Liu
    et al., "Muon is scalable for LLM training", 2025), so that one learning rate serves both. `torch.optim.Muon` does
    the same, but takes no convolutions, and orthogonalises in bfloat16, matrix by matrix: nine times slower on CPUs.
    """

    def __init__(
        self, weights: list[nn.Parameter], lr: float, weight_decay: float = 0.0, momentum: float = 0.95
    ) -> None:
        super().__init__(weights, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # nobody here needs a closure
        """Change the weights by their gradients."""
        for group in self.param_groups:
            alike: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    update = self._nesterov(weight, weight.grad.flatten(1), group["momentum"])
                    alike[tuple(update.shape)].append((weight, update))
            for (rows, columns), pairs in alike.items():
                size = group["lr"] * 0.2 * math.sqrt(max(rows, columns))
                orthogonal = orthogonalised(torch.stack([update for _, update in pairs]))
                for (weight, _), update in zip(pairs, orthogonal, strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.sub_(update.view_as(weight), alpha=size)

    def _nesterov(self, weight: Tensor, gradient: Tensor, momentum: float) -> Tensor:
        state = self.state[weight]
        average = state.setdefault("momentum_buffer", torch.zeros_like(gradient))
        average.lerp_(gradient, 1 - momentum)
        return gradient.lerp(average, momentum)


def orthogonalised(matrices: Tensor) -> Tensor:
    """Matrices (count, rows, columns) with their singular values brought near 1, to about 0.7 … 1.2.

    Five steps of Newton and Schulz's iteration with the coefficients of Jordan et al., which trade exactness for speed.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    wide = matrices.mT if tall else matrices
    x: Tensor = wide / wide.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=-4.775, alpha=2.0315), x, beta=3.4445)
    return x.mT if tall else x


def expected_state(part: torch.optim.Optimizer, parameter: Tensor) -> dict[str, Tensor]:
    """What `part` keeps for a parameter: names, and tensors of the right shape and type (their values mean nothing)."""
    if isinstance(part, Muon):
        return {"momentum_buffer": parameter.flatten(1)}
    return {"step": torch.zeros(()), "exp_avg": parameter, "exp_avg_sq": parameter}


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
    return Optimizers(adam, Muon(matrices, settings.learning_rate, settings.weight_decay))


def _inner_matrices(network: nn.Module) -> list[nn.Parameter]:
    """Weights of linear layers and 3×3 convolutions among features: neither depthwise ones nor those at pixels."""
    inner: list[nn.Parameter] = []
    for module in network.modules():
        among_features = (
            isinstance(module, nn.Conv2d) and module.groups == 1 and module.in_channels == module.out_channels
        )
        if isinstance(module, nn.Linear) or among_features:
            inner.append(module.get_parameter("weight"))
    return inner
