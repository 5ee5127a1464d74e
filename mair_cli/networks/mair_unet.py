"""The U-shaped network: deblurring, dehazing, camera noise (Li et al., CVPR 2025; network.md, 6).

Four levels, each half as high and wide and twice as deep as the one above. Features travel as (B, H, W, C), channels
last, as in `mair_cli.networks.frame`. Parameter names are those of published checkpoints.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from mair_cli.networks.blocks import (
    BlockSequence,
    Mlp,
    ResidualMambaBlock,
    VisionMambaModule,
    block_values,
    initialise_linear_layers,
    mirror_to_multiple,
    on_pixels,
)
from mair_cli.networks.levels import Level, append_level_maps
from mair_cli.networks.network import Network, StateDict, count_numbered, infer_levels, shortest_ratio
from mair_cli.networks.settings import MaIRUNetConfig

ENCODER_STATES = (4, 8, 16, 32)
"""N, state size, of encoder levels 1, 2, 3 and of the latent level; published values, not among the settings."""
DECODER_STATES = (8, 8, 16)
"""N of decoder levels 1, 2, 3; the refinement has that of decoder level 1."""


def _convolution(channels_in: int, channels_out: int, side: int = 3) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, side, padding=side // 2, bias=False)


class Downsample(nn.Module):
    """(B, H, W, C) → (B, H/2, W/2, 2C): a convolution that halves the channels, then pixel-unshuffle."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_convolution(width, width // 2), nn.PixelUnshuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to (B, H/2, W/2, 2C)."""
        return on_pixels(self.body, x)


class Upsample(nn.Module):
    """(B, H, W, C) → (B, 2H, 2W, C/2): a convolution that doubles the channels, then pixel-shuffle."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_convolution(width, 2 * width), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to (B, 2H, 2W, C/2)."""
        return on_pixels(self.body, x)


class PatchEmbedding(nn.Module):
    """The first convolution, from colours to features; patches of one pixel."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.proj = _convolution(channels, width)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, H, W, C)."""
        out: Tensor = self.proj(image.contiguous(memory_format=torch.channels_last))
        return out.permute(0, 2, 3, 1)


def _blocks(
    config: MaIRUNetConfig, count: int, width: int, d_state: int, mlp_ratio: float, places: Iterator[tuple[float, bool]]
) -> BlockSequence:
    blocks = []
    for drop_path, shifted in itertools.islice(places, count):
        module = VisionMambaModule(width, d_state, config.ssm_ratio, config.scan_len, shifted)
        blocks.append(ResidualMambaBlock(module, Mlp(width, mlp_ratio), width, drop_path, name="mlp"))
    return BlockSequence(blocks, config.use_checkpoint)


class MaIRUNet(Network):
    """U-shaped Mamba-based image restoration network.

    Attributes:
        config: its settings.
        scale: 1, the output has the input's size.
    """

    scale = 1
    size_multiple = 8  # sides are extended to multiples of this inside, and cropped again
    # Its lower levels are small: time per pixel does not rise here, and patches of this side end its training. Images
    # of 256×256, cut into tiles of 160, lose 0.12 dB of what deblurring gains, those of 500×500 nothing.
    side_on_cpu = 256
    config_type = MaIRUNetConfig
    config: MaIRUNetConfig

    def __init__(self, config: MaIRUNetConfig) -> None:
        super().__init__()
        self.config = config
        dim, counts, flp, mlp = config.dim, config.num_blocks, config.flp_ratio, config.mlp_ratio
        total = sum(counts) + sum(counts[:3]) + config.num_refinement_blocks
        # Of each block in turn: its rate of stochastic depth, and whether its stripes are shifted.
        places = (
            (config.drop_path_rate * place / (total - 1), config.shift and place % 2 == 1) for place in range(total)
        )
        self.patch_embed = PatchEmbedding(3 + len(config.levels), dim)
        self.encoder_level1 = _blocks(config, counts[0], dim, ENCODER_STATES[0], flp, places)
        self.down1_2 = Downsample(dim)
        self.encoder_level2 = _blocks(config, counts[1], 2 * dim, ENCODER_STATES[1], mlp, places)
        self.down2_3 = Downsample(2 * dim)
        self.encoder_level3 = _blocks(config, counts[2], 4 * dim, ENCODER_STATES[2], mlp, places)
        self.down3_4 = Downsample(4 * dim)
        self.latent = _blocks(config, counts[3], 8 * dim, ENCODER_STATES[3], mlp, places)
        self.up4_3 = Upsample(8 * dim)
        self.reduce_chan_level3 = _convolution(8 * dim, 4 * dim, 1)
        self.decoder_level3 = _blocks(config, counts[2], 4 * dim, DECODER_STATES[2], mlp, places)
        self.up3_2 = Upsample(4 * dim)
        self.reduce_chan_level2 = _convolution(4 * dim, 2 * dim, 1)
        self.decoder_level2 = _blocks(config, counts[1], 2 * dim, DECODER_STATES[1], mlp, places)
        self.up2_1 = Upsample(2 * dim)
        # Not reduced after concatenation: decoder level 1 and the refinement are twice as wide as encoder level 1.
        self.decoder_level1 = _blocks(config, counts[0], 2 * dim, DECODER_STATES[0], mlp, places)
        self.refinement = _blocks(config, config.num_refinement_blocks, 2 * dim, DECODER_STATES[0], mlp, places)
        self.output = _convolution(2 * dim, 3)
        initialise_linear_layers(self)

    def forward(self, image: Tensor, noise_level: Level | None = None, jpeg_level: Level | None = None) -> Tensor:
        """Restore a batch.

        Args:
            image: (B, 3, H, W) float, RGB in [0, 1], any size.
            noise_level: as in `MaIR.forward`.
            jpeg_level: as in `MaIR.forward`.

        Returns:
            (B, 3, H, W) float, RGB, about [0, 1] (not clipped).

        Raises:
            ValueError: a level is given to a network without its map.
        """
        height, width = image.shape[2:]
        entry, padded = self.entry(image, noise_level, jpeg_level)
        features = self.refinement(self._levels(self.patch_embed(entry)))
        return self.exit(self.output(features.permute(0, 3, 1, 2)), padded)[:, :, :height, :width]

    def entry(
        self, image: Tensor, noise_level: Level | None = None, jpeg_level: Level | None = None
    ) -> tuple[Tensor, Tensor]:
        """What the first convolution sees, sides extended, and the colours among it."""
        padded = mirror_to_multiple(image, self.size_multiple)
        return append_level_maps(padded, self.config, noise_level, jpeg_level), padded

    def exit(self, colours: Tensor, x: Tensor) -> Tensor:
        """From what the last convolution gives to the result, sides still extended."""
        return colours + x

    def _levels(self, x: Tensor) -> Tensor:
        """Down to the latent level and up again: (B, H, W, C) → (B, H, W, 2C)."""
        encoded1 = self.encoder_level1(x)
        encoded2 = self.encoder_level2(self.down1_2(encoded1))
        encoded3 = self.encoder_level3(self.down2_3(encoded2))
        x = self.up4_3(self.latent(self.down3_4(encoded3)))
        x = self.decoder_level3(on_pixels(self.reduce_chan_level3, torch.cat([x, encoded3], dim=-1)))
        x = self.up3_2(x)
        x = self.decoder_level2(on_pixels(self.reduce_chan_level2, torch.cat([x, encoded2], dim=-1)))
        x = self.up2_1(x)
        out: Tensor = self.decoder_level1(torch.cat([x, encoded1], dim=-1))
        return out

    @property
    def stripe(self) -> int:
        """Stripe width of the scan in pixels, the same at all levels."""
        return self.config.scan_len

    def _values_per_pixel(self) -> int:
        """Level 1 has the most pixels; its decoder is twice as wide, and the encoder's outputs wait for their use."""
        width = 2 * self.config.dim
        hidden = int(self.config.mlp_ratio * width)
        return block_values(width, DECODER_STATES[0], self.config.ssm_ratio, hidden) + 2 * width

    @classmethod
    def recognises(cls, state: StateDict) -> bool:
        """By its first convolution."""
        return "patch_embed.proj.weight" in state

    @classmethod
    def infer_settings(cls, state: StateDict) -> dict[str, object]:
        """All but the stripe width and the shift, which no weight tells."""
        dim, channels = state["patch_embed.proj.weight"].shape[:2]
        levels = ("encoder_level1", "encoder_level2", "encoder_level3", "latent")
        widths = [dim * 2**place for place in range(len(levels))]
        # A ratio is told by all levels together: 20 of 16 may be 1.25 or 1.3, 40 of 32 only the first.
        inner = [state[f"{level}.0.self_attention.conv2d.weight"].shape[0] for level in levels]
        hidden = [state[f"{level}.0.mlp.fc1.weight"].shape[0] for level in levels]
        return {
            "dim": dim,
            "num_blocks": [count_numbered(state, f"{level}.{{}}.") for level in levels],
            "num_refinement_blocks": count_numbered(state, "refinement.{}."),
            "ssm_ratio": shortest_ratio(*zip(inner, widths, strict=True)),
            "flp_ratio": shortest_ratio((hidden[0], dim)),
            "mlp_ratio": shortest_ratio(*zip(hidden[1:], widths[1:], strict=True)),
            **infer_levels(channels),
        }

    @classmethod
    def published_stripe(cls, settings: Mapping[str, object]) -> int | None:
        """By width: that of camera noise and motion, and that of haze."""
        known: dict[object, int] = {48: 4, 24: 8}
        return known.get(settings["dim"])
