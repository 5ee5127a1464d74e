"""What a network costs: multiply-adds, counted while it runs once on a small image."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from mair_cli.networks import Network
from mair_cli.networks.blocks import VisionMambaModule
from mair_cli.networks.levels import known_levels


def multiply_adds_per_pixel(network: Network) -> float:
    """Multiply-adds per input pixel of MaIR: matrix products, convolutions and the scan.

    The scan of one channel along one direction takes, at each pixel, the projection of the step size (R), decay, inflow
    and output of each of N states (3 N), and the skip (1). Activations, norms and sums are left out, as is usual.
    """
    side = 16
    total = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Linear):
            total += output.numel() * module.in_features
        elif isinstance(module, nn.Conv2d):
            total += output.numel() * module.weight[0].numel()
        elif isinstance(module, VisionMambaModule):
            total += side * side * _scan_per_pixel(module)

    hooks: list[Any] = [module.register_forward_hook(count) for module in network.modules()]
    image = torch.zeros(1, 3, side, side, device=next(network.parameters()).device)
    try:
        with torch.inference_mode():
            network(image, **known_levels(network.config, 0.0, 0.0))
    finally:
        for hook in hooks:
            hook.remove()
    return total / side**2


def _scan_per_pixel(module: VisionMambaModule) -> int:
    directions, outputs, inner = module.x_proj_weight.shape
    rank, states = module.dt_projs_weight.shape[-1], module.A_logs.shape[-1]
    return directions * inner * (outputs + rank + 3 * states + 1)
