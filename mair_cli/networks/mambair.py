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

from mair_cli.networks.blocks import ResidualMambaBlock, VisionMambaModule, block_values
from mair_cli.networks.frame import FIRST_BLOCK, Frame
from mair_cli.networks.network import StateDict
from mair_cli.networks.settings import ChannelAttention, MambaIRConfig

_SQUEEZE = {"classic": 3, "narrow": 6, "light": 2}
_ATTENTION_SQUEEZE = 30
_CAB = FIRST_BLOCK + "conv_blk.cab."


class RasterMambaModule(VisionMambaModule):
    """MambaIR's state-space module: rows, columns, and both backwards, summed."""

    def __init__(self, width: int, d_state: int, ssm_ratio: float) -> None:
        super().__init__(width, d_state, ssm_ratio, stripe=1, pattern="raster", attention=False)

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


class MambaIR(Frame):
    """MambaIR: super-resolution and Gaussian denoising; input and output as `MaIR`'s."""

    config_type = MambaIRConfig
    scans_stripes = False
    config: MambaIRConfig

    def __init__(self, config: MambaIRConfig) -> None:
        super().__init__(config)

    def _block(self, place: int, drop_path: float) -> ResidualMambaBlock:
        config = self.config
        module = RasterMambaModule(config.embed_dim, config.d_state, config.ssm_ratio)
        branch = ChannelAttentionBlock(config.embed_dim, config.channel_attention)
        return ResidualMambaBlock(module, branch, config.embed_dim, drop_path)

    def _block_values(self) -> int:
        width = self.config.embed_dim
        return block_values(width, self.config.d_state, self.config.ssm_ratio, width)

    @classmethod
    def recognises(cls, state: StateDict) -> bool:
        """By its channel attention."""
        return _CAB + "0.weight" in state

    @classmethod
    def infer_settings(cls, state: StateDict) -> dict[str, object]:
        """Those of the frame, and which of the three forms its convolutions have."""
        narrow, width = state[_CAB + "0.weight"].shape[:2]
        form = "narrow" if narrow == width // _SQUEEZE["narrow"] else "classic"
        light = _CAB + "5.attention.1.weight" in state
        return super().infer_settings(state) | {"channel_attention": "light" if light else form}
