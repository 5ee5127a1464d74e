"""MambaIR (Guo et al., ECCV 2024), which MaIR is measured against, in MaIR's frame and through the same scan.

What differs from MaIR:
    scan       whole rows and whole columns, each there and back, and the four results are summed
    branch     convolutions with channel attention (CAB) in place of the MLP
Parameter names are those of published checkpoints (github.com/csguoh/MambaIR). They come in three forms of the CAB:
`classic` and `narrow` squeeze the channels to a third and a sixth between two 3×3 convolutions; `light`, in the
lightweight checkpoints that the authors share, uses depthwise convolutions, one of them dilated.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mair_cli.networks.blocks import ResidualMambaBlock, VisionMambaModule
from mair_cli.networks.mair import MaIR, ResidualMambaGroup
from mair_cli.networks.settings import ChannelAttention, MaIRConfig, MambaIRConfig

_SQUEEZE = {"classic": 3, "narrow": 6, "light": 2}
_ATTENTION_SQUEEZE = 30


class RasterMambaModule(VisionMambaModule):
    """MambaIR's state-space module: rows, columns, and both backwards, summed."""

    def _orders(self, height: int, width: int, device: torch.device) -> Tensor:
        # Published parameters belong to rows, columns, rows backwards, columns backwards; ours has backwards second.
        return super()._orders(height, width, device)[[0, 2, 1, 3]].contiguous()


class PooledAttention(nn.Module):
    """Weighs channels by a sigmoid of what two 1×1 convolutions make of their means."""

    def __init__(self, width: int) -> None:
        super().__init__()
        narrow = max(1, width // _ATTENTION_SQUEEZE)
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, narrow, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(narrow, width, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        weights: Tensor = self.attention(x)
        return x * weights


class ChannelAttentionBlock(nn.Module):
    """The CAB, on channels-last features.

    Args:
        width: C.
        kind: one of the forms above.
    """

    def __init__(self, width: int, kind: ChannelAttention) -> None:
        super().__init__()
        narrow = width // _SQUEEZE[kind]
        if kind == "light":
            layers: list[nn.Module] = [
                nn.Conv2d(width, narrow, 1),
                nn.Conv2d(narrow, narrow, 3, padding=1, groups=narrow),
                nn.GELU(),
                nn.Conv2d(narrow, width, 1),
                nn.Conv2d(width, width, 3, padding=2, dilation=2, groups=width),
            ]
        else:
            layers = [nn.Conv2d(width, narrow, 3, padding=1), nn.GELU(), nn.Conv2d(narrow, width, 3, padding=1)]
        self.cab = nn.Sequential(*layers, PooledAttention(width))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape."""
        out: Tensor = self.cab(x.permute(0, 3, 1, 2))
        return out.permute(0, 2, 3, 1)


class ResidualStateSpaceGroup(ResidualMambaGroup):
    """MaIR's group with MambaIR's blocks (called RSSG in its paper)."""

    @staticmethod
    def _block(config: MaIRConfig, position: int, drop_path: float) -> ResidualMambaBlock:
        assert isinstance(config, MambaIRConfig)
        width = config.embed_dim
        module = RasterMambaModule(
            width, config.d_state, config.ssm_ratio, config.scan_len, pattern=config.scan_pattern, attention=False
        )
        block = ResidualMambaBlock(module, width, config.mlp_ratio, drop_path)
        block.conv_blk = ChannelAttentionBlock(width, config.channel_attention)
        return block


class MambaIR(MaIR):
    """MambaIR: super-resolution and Gaussian denoising; input and output as `MaIR`'s."""

    _group: type[ResidualMambaGroup] = ResidualStateSpaceGroup
