"""What starts from another network's weights have in common."""

from __future__ import annotations

from torch import Tensor, nn

from mair_cli.networks.blocks import ResidualMambaBlock


def fill(layer: nn.Conv2d, weight: Tensor, bias: Tensor) -> None:
    """Set a convolution; input channels that `weight` lacks get zeros."""
    assert layer.bias is not None
    nn.init.zeros_(layer.weight)
    layer.weight[:, : weight.shape[1]] = weight
    layer.bias.copy_(bias)


def silence_blocks(network: nn.Module) -> None:
    """Let residual Mamba blocks give what they are given."""
    for block in network.modules():
        if isinstance(block, ResidualMambaBlock):
            last = block.get_submodule("conv_blk.fc2")
            for parameter in (block.self_attention.out_proj.weight, *last.parameters()):
                nn.init.zeros_(parameter)
