"""MaIR's blocks in the trunk of SPAN (Wan et al., "Swift Parameter-free Attention Network for Efficient
Super-Resolution", 2024): the small network for ×2 to ×4.

Each of SPAN's blocks sees 3 pixels around; a residual Mamba block behind it carries along the scan what lies further
away. While Mamba blocks change nothing the network is SPAN: `recipes/span_start.py` starts from its published weights.
"""

from __future__ import annotations

from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mair_cli.networks.blocks import BlockSequence, on_planes
from mair_cli.networks.network import StateDict
from mair_cli.networks.settings import MaIRSPANConfig
from mair_cli.networks.trunk import MaIRInTrunk

JOINED = 4
"""Features that the end sees side by side: the first, the last, and two from the first and the last block."""


class SwiftAttentionBlock(nn.Module):
    """SPAN's block, SPAB: three convolutions, whose result weighs itself (Wan et al., section 3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c1, self.c2, self.c3 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, C, H, W) to the same shape; also the features behind the first convolution."""
        first = F.silu(self.c1(x))
        change = self.c3(F.silu(self.c2(first)))
        return (change + x) * (torch.sigmoid(change) - 0.5), first


class SpanGroup(nn.Module):
    """SPAN's block and residual Mamba blocks behind it."""

    def __init__(self, width: int, blocks: BlockSequence) -> None:
        super().__init__()
        self.attention = SwiftAttentionBlock(width)
        self.blocks = blocks

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, C, H, W) to the same shape; also the features behind the first convolution."""
        x, first = self.attention(x)
        return on_planes(self.blocks, x), first


class MaIRSPAN(MaIRInTrunk):
    """SPAN with residual Mamba blocks."""

    config_type = MaIRSPANConfig
    trunk = "span"
    config: MaIRSPANConfig

    def __init__(self, config: MaIRSPANConfig) -> None:
        super().__init__(config)
        self.join = nn.Conv2d(JOINED * config.embed_dim, config.embed_dim, 1)

    def _trunk_group(self, blocks: BlockSequence) -> nn.Module:
        return SpanGroup(self.config.embed_dim, blocks)

    def _body(self, shallow: Tensor) -> Tensor:
        deep, first = self.layers[0](shallow)
        early = deep
        for group in islice(self.layers, 1, None):
            deep, first = group(deep)
        joined: Tensor = self.join(torch.cat((shallow, self.conv_after_body(deep), early, first), 1))
        return joined

    def _block_values(self) -> int:
        return super()._block_values() + (JOINED - 1) * self.config.embed_dim

    @classmethod
    def recognises(cls, state: StateDict) -> bool:
        """By SPAN's blocks."""
        return "layers.0.attention.c1.weight" in state
