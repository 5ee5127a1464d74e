"""MaIR: super-resolution and Gaussian denoising (Li et al., CVPR 2025; network.md, 5).

Features travel as (B, H, W, C), channels last; convolutions see them as (B, C, H, W) views in PyTorch's channels-last
memory format, so that no layout is ever copied. Parameter names are those of published checkpoints.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from mair_cli.networks.blocks import ResidualMambaBlock, VisionMambaModule, initialise_linear_layers
from mair_cli.networks.levels import Level, append_level_maps, level_count
from mair_cli.networks.network import Network
from mair_cli.networks.settings import MaIRConfig

RGB_MEAN = (0.4488, 0.4371, 0.4040)
"""Mean colour of DIV2K, subtracted from every input; from the published settings."""


def _convolution(width: int, kind: str) -> nn.Module:
    """The convolution at the end of a group and of the body: one 3×3, or the bottleneck that `3conv` names."""
    if kind == "1conv":
        return nn.Conv2d(width, width, 3, padding=1)
    narrow = width // 4
    return nn.Sequential(
        nn.Conv2d(width, narrow, 3, padding=1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(narrow, narrow, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(narrow, width, 3, padding=1),
    )


def _on_pixels(convolution: nn.Module, x: Tensor) -> Tensor:
    """Apply a convolution to (B, H, W, C)."""
    out: Tensor = convolution(x.permute(0, 3, 1, 2))
    return out.permute(0, 2, 3, 1)


class _Blocks(nn.Module):
    """The blocks of a group, under the name that published checkpoints give them."""

    def __init__(self, blocks: list[ResidualMambaBlock]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class ResidualMambaGroup(nn.Module):
    """Residual Mamba group (RMG): blocks, a convolution, and the group's input; network.md, 4."""

    def __init__(self, config: MaIRConfig, drop_path: list[float]) -> None:
        super().__init__()
        blocks = [self._block(config, position, rate) for position, rate in enumerate(drop_path)]
        self.residual_group = _Blocks(blocks)
        self.conv = _convolution(config.embed_dim, config.resi_connection)

    @staticmethod
    def _block(config: MaIRConfig, position: int, drop_path: float) -> ResidualMambaBlock:
        """The block at `position`; networks of the same frame put their own here."""
        module = VisionMambaModule(
            config.embed_dim,
            config.d_state,
            config.ssm_ratio,
            config.scan_len,
            shifted=config.shift and position % 2 == 1,
            pattern=config.scan_pattern,
            attention=config.aggregation == "shuffle",
        )
        return ResidualMambaBlock(module, config.embed_dim, config.mlp_ratio, drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to (B, H, W, C)."""
        return _on_pixels(self.conv, self.residual_group(x)) + x


def _upsampler(scale: int, width: int) -> nn.Sequential:
    """Classic SR: one step of 3, or one or two of 2, each a 3×3 convolution and a pixel shuffle."""
    factors = [3] if scale == 3 else [2] * (scale // 2)
    layers: list[nn.Module] = []
    for factor in factors:
        layers += [nn.Conv2d(width, factor**2 * width, 3, padding=1), nn.PixelShuffle(factor)]
    return nn.Sequential(*layers)


class MaIR(Network):
    """Mamba-based image restoration network.

    Attributes:
        config: its settings.
        scale: output side over input side; 1 for denoising.
        size_multiple: image sides must be multiples of this: 1, any size will do.
    """

    size_multiple = 1
    _head_width = 64
    _group: type[ResidualMambaGroup] = ResidualMambaGroup

    def __init__(self, config: MaIRConfig) -> None:
        super().__init__()
        self.config: MaIRConfig = config
        self.scale = config.upscale
        width = config.embed_dim
        rates = iter(np.linspace(0, config.drop_path_rate, sum(config.depths)).tolist())
        self.conv_first = nn.Conv2d(3 + level_count(config), width, 3, padding=1)
        self.patch_embed = nn.Sequential(OrderedDict(norm=nn.LayerNorm(width)))
        self.layers = nn.ModuleList(self._group(config, list(islice(rates, depth))) for depth in config.depths)
        self.norm = nn.LayerNorm(width)
        self.conv_after_body = _convolution(width, config.resi_connection)
        if config.upsampler == "pixelshuffledirect":
            self.upsample = nn.Sequential(
                nn.Conv2d(width, 3 * self.scale**2, 3, padding=1), nn.PixelShuffle(self.scale)
            )
        elif config.upsampler == "pixelshuffle":
            head = self._head_width
            self.conv_before_upsample = nn.Sequential(nn.Conv2d(width, head, 3, padding=1), nn.LeakyReLU(inplace=True))
            self.upsample = _upsampler(self.scale, head)
            self.conv_last = nn.Conv2d(head, 3, 3, padding=1)
        else:
            self.conv_last = nn.Conv2d(width, 3, 3, padding=1)
        self.register_buffer("mean", torch.tensor(RGB_MEAN).view(1, 3, 1, 1), persistent=False)
        initialise_linear_layers(self)

    def forward(self, image: Tensor, noise_level: Level | None = None, jpeg_level: Level | None = None) -> Tensor:
        """Restore a batch.

        Args:
            image: (B, 3, H, W) float, RGB in [0, 1].
            noise_level: σ/255, a number or (B,), for networks with a noise-level map; left out it is 0, no noise.
            jpeg_level: (100 - Q)/100, a number or (B,), for networks with a JPEG-level map; left out it is 0, no JPEG.

        Returns:
            (B, 3, H · scale, W · scale) float, RGB, about [0, 1] (not clipped).

        Raises:
            ValueError: a level is given to a network without its map, or a denoiser is not told the noise level.
        """
        if self.config.noise_level_map and self.config.upsampler is None and noise_level is None:
            raise ValueError("noise_level is missing: a denoiser with a noise-level map has to be told")
        assert isinstance(self.mean, Tensor)
        x = (image - self.mean) * self.config.img_range
        entry = append_level_maps(x, self.config, noise_level, jpeg_level)
        shallow = self.conv_first(entry.contiguous(memory_format=torch.channels_last))
        deep = self.patch_embed(shallow.permute(0, 2, 3, 1))
        for group in self.layers:
            deep = group(deep)
        features = self.conv_after_body(self.norm(deep).permute(0, 3, 1, 2)) + shallow
        return self._head(features, x) / self.config.img_range + self.mean

    def _head(self, features: Tensor, x: Tensor) -> Tensor:
        """From features (B, C, H, W) to colours; `x` is the normalised input, which denoising adds."""
        out: Tensor
        if self.config.upsampler is None:
            out = x + self.conv_last(features)
        elif self.config.upsampler == "pixelshuffledirect":
            out = self.upsample(features)
        else:
            out = self.conv_last(self.upsample(self.conv_before_upsample(features)))
        return out
