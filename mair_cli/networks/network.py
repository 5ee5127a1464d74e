"""What every network of ours tells about itself."""

from __future__ import annotations

from torch import nn

from mair_cli.networks.settings import NetworkConfig


class Network(nn.Module):
    """Restores (B, 3, H, W) float RGB in [0, 1] to (B, 3, H · scale, W · scale).

    Attributes:
        config: its settings.
        scale: output side over input side.
        size_multiple: image sides that are multiples of this need no padding inside.
    """

    config: NetworkConfig
    scale: int
    size_multiple: int
