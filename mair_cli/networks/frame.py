"""The frame that MaIR and MambaIR share: all but the blocks (Li et al., CVPR 2025; network.md, 5).

Features travel as (B, H, W, C), channels last; convolutions see them as (B, C, H, W) views in PyTorch's channels-last
memory format, so that no layout is ever copied. Parameter names are those of published checkpoints.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from mair_cli.networks.blocks import BlockSequence, ResidualMambaBlock, initialise_linear_layers, on_pixels
from mair_cli.networks.levels import Level, append_level_maps
from mair_cli.networks.network import Network, StateDict, count_numbered, infer_levels, shortest_ratio
from mair_cli.networks.settings import FrameConfig

RGB_MEAN = (0.4488, 0.4371, 0.4040)
"""Mean colour of DIV2K, subtracted from every input; from the published settings."""


def final_convolution(width: int, kind: str) -> nn.Module:
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


class ResidualMambaGroup(nn.Module):
    """Residual Mamba group (RMG): blocks, a convolution, and the group's input; network.md, 4."""

    def __init__(self, config: FrameConfig, blocks: list[ResidualMambaBlock]) -> None:
        super().__init__()
        # The name that published checkpoints give them.
        self.residual_group = nn.Sequential(OrderedDict(blocks=BlockSequence(blocks, config.use_checkpoint)))
        self.conv = final_convolution(config.embed_dim, config.resi_connection)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to (B, H, W, C)."""
        return on_pixels(self.conv, self.residual_group(x)) + x


def _upsampler(scale: int, width: int) -> nn.Sequential:
    """Classic SR: one step of 3, or one to three of 2, each a 3×3 convolution and a pixel shuffle."""
    factors = [3] if scale == 3 else [2] * int(math.log2(scale))
    layers: list[nn.Module] = []
    for factor in factors:
        layers += [nn.Conv2d(width, factor**2 * width, 3, padding=1), nn.PixelShuffle(factor)]
    return nn.Sequential(*layers)


BLOCK = "layers.{}.residual_group.blocks.{}."
"""Prefix of a block's parameters, by the numbers of its group and of itself."""
FIRST_BLOCK = BLOCK.format(0, 0)
"""Prefix of the parameters that tell what the blocks of a network are."""


class Frame(Network):
    """A network of groups of blocks between convolutions; which blocks, its kinds say.

    Attributes:
        config: its settings.
        scale: output side over input side; 1 for denoising.
    """

    _head_width = 64
    _block_prefix: ClassVar[str] = BLOCK
    config: FrameConfig

    def __init__(self, config: FrameConfig) -> None:
        super().__init__()
        self.config, self.scale = config, config.upscale
        width, colors = config.embed_dim, config.in_chans
        rates = iter(np.linspace(0, config.drop_path_rate, sum(config.depths)).tolist())
        self.conv_first = nn.Conv2d(colors + len(config.levels), width, 3, padding=1)
        self.patch_embed = nn.Sequential(OrderedDict(norm=nn.LayerNorm(width)))
        self.layers = nn.ModuleList(
            self._group(number, list(islice(rates, depth))) for number, depth in enumerate(config.depths)
        )
        self.norm = nn.LayerNorm(width)
        self.conv_after_body = final_convolution(width, config.resi_connection)
        if config.upsampler == "pixelshuffledirect":
            self.upsample = nn.Sequential(
                nn.Conv2d(width, colors * self.scale**2, 3, padding=1), nn.PixelShuffle(self.scale)
            )
        elif config.upsampler == "pixelshuffle":
            head = self._head_width
            self.conv_before_upsample = nn.Sequential(nn.Conv2d(width, head, 3, padding=1), nn.LeakyReLU(inplace=True))
            self.upsample = _upsampler(self.scale, head)
            self.conv_last = nn.Conv2d(head, colors, 3, padding=1)
        else:
            self.conv_last = nn.Conv2d(width, colors, 3, padding=1)
        mean = RGB_MEAN if colors == 3 else (0.0,)  # as published: nothing is taken off gray images
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        initialise_linear_layers(self)

    def _group(self, number: int, rates: Sequence[float]) -> nn.Module:
        """A group; `rates` of stochastic depth for its blocks."""
        blocks = [self._block(place, rate) for place, rate in enumerate(rates)]
        return ResidualMambaGroup(self.config, blocks)

    def _block(self, place: int, drop_path: float) -> ResidualMambaBlock:
        """The block at `place` in its group."""
        raise NotImplementedError

    def forward(self, image: Tensor, noise_level: Level | None = None, jpeg_level: Level | None = None) -> Tensor:
        """Restore a batch.

        Args:
            image: (B, 3, H, W) float, RGB in [0, 1]; for gray networks (B, 1, H, W), or any number of channels, each
                of which is then restored by itself.
            noise_level: σ/255, a number or (B,), for networks with a noise-level map; left out it is 0, no noise.
            jpeg_level: (100 - Q)/100, a number or (B,), for networks with a JPEG-level map; left out it is 0, no JPEG.

        Returns:
            (B, 3, H · scale, W · scale) float, RGB, about [0, 1] (not clipped); as many channels as `image` has.

        Raises:
            ValueError: a level is given to a network without its map, a denoiser is not told the noise level, or a
                network for colours is given another number of channels.
        """
        if image.shape[1] != self.config.in_chans:
            return self._each_channel(image, noise_level, jpeg_level)
        entry, x = self.entry(image, noise_level, jpeg_level)
        shallow = self.conv_first(entry.contiguous(memory_format=torch.channels_last))
        return self.exit(self._head(self._body(shallow)), x)

    def _body(self, shallow: Tensor) -> Tensor:
        """From the first features, (B, C, H, W), to those for the head."""
        deep = self.patch_embed(shallow.permute(0, 2, 3, 1))
        for group in self.layers:
            deep = group(deep)
        body: Tensor = self.conv_after_body(self.norm(deep).permute(0, 3, 1, 2))
        return body + shallow

    def entry(
        self, image: Tensor, noise_level: Level | None = None, jpeg_level: Level | None = None
    ) -> tuple[Tensor, Tensor]:
        """What the first convolution sees, and the colours among it; arguments as for `forward`."""
        if self.config.noise_level_map and self.config.upsampler is None and noise_level is None:
            raise ValueError("noise_level is missing: a denoiser with a noise-level map has to be told")
        assert isinstance(self.mean, Tensor)
        x = (image - self.mean) * self.config.img_range
        return append_level_maps(self._seen(x), self.config, noise_level, jpeg_level), x

    def _seen(self, x: Tensor) -> Tensor:
        """Colours, (B, C, H, W), as the first convolution sees them."""
        return x

    def exit(self, colours: Tensor, x: Tensor) -> Tensor:
        """From what the head gives to the result; `x` is the normalised input, which denoising adds."""
        assert isinstance(self.mean, Tensor)
        whole = x + colours if self.config.upsampler is None else colours
        return whole / self.config.img_range + self.mean

    def _each_channel(self, image: Tensor, noise_level: Level | None, jpeg_level: Level | None) -> Tensor:
        batch, channels = image.shape[:2]
        if self.config.in_chans != 1:
            raise ValueError(f"this network takes images of {self.config.in_chans} channels, not {channels}")
        told = [
            level.repeat_interleave(channels) if isinstance(level, Tensor) and level.numel() > 1 else level
            for level in (noise_level, jpeg_level)
        ]
        out: Tensor = self(image.flatten(0, 1).unsqueeze(1), *told)
        return out.view(batch, channels, *out.shape[2:])

    def _head(self, features: Tensor) -> Tensor:
        """From features (B, C, H, W) to colours."""
        out: Tensor
        if self.config.upsampler is None:
            out = self.conv_last(features)
        elif self.config.upsampler == "pixelshuffledirect":
            out = self.upsample(features)
        else:
            out = self.conv_last(self.upsample(self.conv_before_upsample(features)))
        return out

    def _block_values(self) -> int:
        """Numbers per pixel at the busiest moment of a block."""
        raise NotImplementedError

    def _values_per_pixel(self) -> int:
        """The blocks' share or the head's, whose widest features have the full resolution."""
        width, area = self.config.embed_dim, self.scale**2
        if self.config.upsampler == "pixelshuffle":
            head = 2 * width + 2 * self._head_width * area + 3 * area
        else:
            head = 3 * width + 3 * 3 * area
        return max(self._block_values(), head)

    @classmethod
    def infer_settings(cls, state: StateDict) -> dict[str, object]:
        """Those of the frame."""
        width, channels = state["conv_first.weight"].shape[:2]
        groups = count_numbered(state, "layers.{}.")
        scan = cls._block_prefix.format(0, 0) + "self_attention."
        head, scale, colors = infer_head(state)
        return {
            "upscale": scale,
            "in_chans": colors,
            "embed_dim": width,
            "depths": [count_numbered(state, cls._block_prefix.format(group, "{}")) for group in range(groups)],
            "d_state": state[scan + "A_logs"].shape[1],
            "ssm_ratio": shortest_ratio((state[scan + "conv2d.weight"].shape[0], width)),
            "upsampler": head,
            "resi_connection": "1conv" if "conv_after_body.weight" in state else "3conv",
            **infer_levels(channels, colors),
        }


def infer_head(state: StateDict) -> tuple[str | None, int, int]:
    """The upsampler, its scale, and the number of colours that come out."""
    if "conv_before_upsample.0.weight" in state:
        colors, last = state["conv_last.weight"].shape[0], state["upsample.0.weight"]
        if last.shape[0] == 9 * last.shape[1]:
            return "pixelshuffle", 3, colors
        return "pixelshuffle", 2 ** count_numbered(state, "upsample.{}.", 2), colors
    if "upsample.0.weight" in state:
        outputs = state["upsample.0.weight"].shape[0]
        colors = 1 if math.isqrt(outputs) ** 2 == outputs else 3  # three times a square is none
        return "pixelshuffledirect", math.isqrt(outputs // colors), colors
    return None, 1, state["conv_last.weight"].shape[0]
