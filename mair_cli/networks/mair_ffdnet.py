"""MaIR's blocks in the trunk of FFDNet (Zhang, Zuo and Zhang, "FFDNet: Toward a Fast and Flexible Solution for
CNN-based Image Denoising", 2018): the small network for noise and JPEG compression.

It works at half the image's size, each pixel there being four of the image. Residual Mamba blocks behind every second
convolution carry along the scan what lies further away. While they change nothing the network is FFDNet:
`recipes/ffdnet_start.py` starts from its published weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mair_cli.networks.blocks import BlockSequence, mirror_to_multiple, on_planes
from mair_cli.networks.network import StateDict
from mair_cli.networks.settings import MaIRFFDNetConfig
from mair_cli.networks.trunk import MaIRInTrunk

FOLD = 2
"""Side of the square of pixels that become channels of one."""


class FFDNetGroup(nn.Module):
    """Two of FFDNet's convolutions and residual Mamba blocks behind them."""

    def __init__(self, width: int, blocks: BlockSequence) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.blocks = blocks

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        return on_planes(self.blocks, F.relu(self.conv2(F.relu(self.conv1(x)))))


class MaIRFFDNet(MaIRInTrunk):
    """FFDNet with residual Mamba blocks."""

    size_multiple = FOLD
    config_type = MaIRFFDNetConfig
    trunk = "ffdnet"
    config: MaIRFFDNetConfig

    def __init__(self, config: MaIRFFDNetConfig) -> None:
        super().__init__(config)
        del self.conv_after_body
        folded = config.in_chans * FOLD**2
        self.conv_first = nn.Conv2d(folded + len(config.levels), config.embed_dim, 3, padding=1)
        self.conv_last = nn.Conv2d(config.embed_dim, folded, 3, padding=1)
        # FFDNet takes no mean off: beyond an image's edges it sees black.
        self.register_buffer("mean", torch.zeros(1, config.in_chans, 1, 1), persistent=False)

    def _trunk_group(self, blocks: BlockSequence) -> nn.Module:
        return FFDNetGroup(self.config.embed_dim, blocks)

    @property
    def align(self) -> int:
        """Of the stripes at half the size."""
        return FOLD * super().align

    def _seen(self, x: Tensor) -> Tensor:
        return F.pixel_unshuffle(mirror_to_multiple(x, FOLD, repeat_edge=True), FOLD)

    def _body(self, shallow: Tensor) -> Tensor:
        deep = F.relu(shallow)
        for group in self.layers:
            deep = group(deep)
        return deep

    def _head(self, features: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv_last(features), FOLD)

    def exit(self, colours: Tensor, x: Tensor) -> Tensor:
        """From what the head gives to the result, of the size of `x`; FFDNet adds no input."""
        return colours[:, :, : x.shape[2], : x.shape[3]] / self.config.img_range

    def _values_per_pixel(self) -> int:
        """The blocks' share, each of whose pixels is four of the image, and what goes in and comes out."""
        return self._block_values() // FOLD**2 + 4 * self.config.in_chans

    @classmethod
    def recognises(cls, state: StateDict) -> bool:
        """By FFDNet's pairs of convolutions."""
        return "layers.0.conv1.weight" in state

    @classmethod
    def infer_settings(cls, state: StateDict) -> dict[str, object]:
        """Those of MaIR in a trunk, for folded colours."""
        colors = state["conv_last.weight"].shape[0] // FOLD**2
        return super().infer_settings(state) | {"in_chans": colors, "resi_connection": "1conv"}
