"""Losses of the article: mean absolute error for super-resolution, Charbonnier for denoising (network.md, 8)."""

from __future__ import annotations

from collections.abc import Callable

import torch

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def l1_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of two tensors of equal shape, as a scalar."""
    return torch.nn.functional.l1_loss(output, target)


def charbonnier_loss(output: torch.Tensor, target: torch.Tensor, eps: float = 1e-3) -> torch.Tensor:
    """Mean of `sqrt((output - target)² + eps²)`, a smooth form of the mean absolute difference, as a scalar."""
    return torch.sqrt((output - target).square() + eps * eps).mean()


def make_loss(name: str, eps: float = 1e-3) -> Loss:
    """The loss called `name` ("l1" or "charbonnier"); `eps` belongs to the latter."""
    if name == "l1":
        return l1_loss
    return lambda output, target: charbonnier_loss(output, target, eps)
