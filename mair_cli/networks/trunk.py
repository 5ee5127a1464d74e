"""MaIR's blocks in the trunk of another network: what such networks have in common.

A residual Mamba block whose out projection and second MLP layer are zero changes nothing, so that training can start
from the published weights of the network whose trunk it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import nn

from mair_cli.networks.blocks import BlockSequence
from mair_cli.networks.mair import MaIR
from mair_cli.networks.network import StateDict
from mair_cli.networks.settings import TrunkConfig


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
        return self._trunk_group(BlockSequence(blocks, self.config.use_checkpoint))

    def _trunk_group(self, blocks: BlockSequence) -> nn.Module:
        """Layers of the trunk and these blocks behind them."""
        raise NotImplementedError

    @classmethod
    def infer_settings(cls, state: StateDict) -> dict[str, object]:
        """Those of MaIR, and the trunk."""
        return super().infer_settings(state) | {"trunk": cls.trunk}
