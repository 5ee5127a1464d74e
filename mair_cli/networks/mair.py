"""MaIR: super-resolution and Gaussian denoising (Li et al., CVPR 2025; network.md, 5)."""

from __future__ import annotations

from collections.abc import Mapping

from mair_cli.networks.blocks import Mlp, ResidualMambaBlock, VisionMambaModule, block_values
from mair_cli.networks.frame import FIRST_BLOCK, Frame
from mair_cli.networks.network import StateDict, shortest_ratio
from mair_cli.networks.settings import MaIRConfig


class MaIR(Frame):
    """Mamba-based image restoration network."""

    config_type = MaIRConfig
    config: MaIRConfig

    def __init__(self, config: MaIRConfig) -> None:
        super().__init__(config)

    def _block(self, place: int, drop_path: float) -> ResidualMambaBlock:
        config = self.config
        module = VisionMambaModule(
            config.embed_dim,
            config.d_state,
            config.ssm_ratio,
            config.scan_len,
            shifted=config.shift and place % 2 == 1,
            pattern=config.scan_pattern,
            attention=config.aggregation == "shuffle",
        )
        return ResidualMambaBlock(module, Mlp(config.embed_dim, config.mlp_ratio), config.embed_dim, drop_path)

    @property
    def stripe(self) -> int:
        """Stripe width of the scan in pixels."""
        return self.config.scan_len

    def _block_values(self) -> int:
        width = self.config.embed_dim
        return block_values(width, self.config.d_state, self.config.ssm_ratio, int(self.config.mlp_ratio * width))

    @classmethod
    def recognises(cls, state: StateDict) -> bool:
        """By its MLPs."""
        return FIRST_BLOCK + "conv_blk.fc1.weight" in state

    @classmethod
    def infer_settings(cls, state: StateDict) -> dict[str, object]:
        """Those of the frame and of the blocks."""
        settings = super().infer_settings(state)
        first = cls._block_prefix.format(0, 0)
        hidden, width = state[first + "conv_blk.fc1.weight"].shape
        shuffles = first + "self_attention.gating.gating.1.weight" in state
        aggregation = "shuffle" if shuffles else "sum"
        return settings | {"mlp_ratio": shortest_ratio((hidden, width)), "aggregation": aggregation}

    @classmethod
    def published_stripe(cls, settings: Mapping[str, object]) -> int | None:
        """By width, head and state size."""
        key = settings["embed_dim"], settings["upsampler"], settings["d_state"]
        known: dict[tuple[object, ...], int] = {
            (180, "pixelshuffle", 16): 8,
            (60, "pixelshuffledirect", 16): 4,
            (60, "pixelshuffledirect", 1): 8,
            (180, None, 16): 4,
        }
        return known.get(key)
