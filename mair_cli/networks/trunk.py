"""MaIR's blocks in the trunk of another network: what such networks have in common.

A residual Mamba block whose out projection and second MLP layer are zero changes nothing, so that training can start
from the published weights of the network whose trunk it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from mair_cli.networks.blocks import ResidualMambaBlock, run_blocks
from mair_cli.networks.mair import MaIR
from mair_cli.networks.network import StateDict
from mair_cli.networks.settings import TrunkConfig


class TrunkGroup(nn.Module):
    """Layers of a trunk, and residual Mamba blocks behind them."""

    def __init__(self, blocks: list[ResidualMambaBlock], use_checkpoint: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.use_checkpoint = use_checkpoint

    def _through_blocks(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        return run_blocks(self.blocks, x.permute(0, 2, 3, 1), self.use_checkpoint).permute(0, 3, 1, 2)


class MaIRInTrunk(MaIR):
    """MaIR's blocks behind the layers of another network."""

    _block_prefix = "layers.{}.blocks.{}."
    trunk: ClassVar[str]
    """Its name in the settings."""
    config: TrunkConfig

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__(config)
        del self.patch_embed, self.norm  # the trunks normalise nothing

    def _group(self, number: int, rates: Sequence[float]) -> nn.Module:
        # Blocks are counted through: every second one in the network, not in its group, has shifted stripes.
        before = sum(self.config.depths[:number])
        blocks = [self._block(before + place, rate) for place, rate in enumerate(rates)]
        return self._trunk_group(blocks)

    def _trunk_group(self, blocks: list[ResidualMambaBlock]) -> nn.Module:
        """Layers of the trunk and these blocks behind them."""
        raise NotImplementedError

    @classmethod
    def infer_settings(cls, state: StateDict) -> dict[str, object]:
        """Those of MaIR, and the trunk."""
        return super().infer_settings(state) | {"trunk": cls.trunk}
