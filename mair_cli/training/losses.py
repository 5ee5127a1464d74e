"""Losses of the article, mean absolute error and Charbonnier (network.md, 8), and others of the field."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def l1_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of two tensors of equal shape, as a scalar."""
    return torch.nn.functional.l1_loss(output, target)


def charbonnier_loss(output: torch.Tensor, target: torch.Tensor, eps: float = 1e-3) -> torch.Tensor:
    """Mean of `sqrt((output - target)² + eps²)`, a smooth form of the mean absolute difference, as a scalar."""
    return torch.sqrt((output - target).square() + eps * eps).mean()


def total_variation(image: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of vertical neighbours in (B, C, H, W), plus that of horizontal ones, as a scalar."""
    return image.diff(dim=2).abs().mean() + image.diff(dim=3).abs().mean()


def make_loss(name: str, eps: float = 1e-3, tv: float = 0.0) -> Loss:
    """The loss called `name`: "l1", "charbonnier" (with `eps`) or "mse"; plus `tv` times the output's variation."""
    losses: dict[str, Loss] = {
        "l1": l1_loss,
        "charbonnier": partial(charbonnier_loss, eps=eps),
        "mse": torch.nn.functional.mse_loss,
    }
    base = losses[name]
    if not tv:
        return base
    return lambda output, target: base(output, target) + tv * total_variation(output)
