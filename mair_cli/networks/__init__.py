"""The networks: they take tensors and settings, and know nothing of files or devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torch import nn

from mair_cli.networks.blocks import ScanModule
from mair_cli.networks.mair import MaIR
from mair_cli.networks.mair_ffdnet import MaIRFFDNet
from mair_cli.networks.mair_span import MaIRSPAN
from mair_cli.networks.mair_unet import MaIRUNet
from mair_cli.networks.mambair import MambaIR
from mair_cli.networks.mambairv2 import MambaIRv2
from mair_cli.networks.network import Network
from mair_cli.networks.settings import (
    FrameConfig,
    MaIRConfig,
    MaIRFFDNetConfig,
    MaIRSPANConfig,
    MaIRUNetConfig,
    MambaIRConfig,
    MambaIRv2Config,
    NetworkConfig,
    config_from_mapping,
)

__all__ = [
    "NETWORKS",
    "FrameConfig",
    "MaIR",
    "MaIRConfig",
    "MaIRFFDNet",
    "MaIRFFDNetConfig",
    "MaIRSPAN",
    "MaIRSPANConfig",
    "MaIRUNetConfig",
    "MambaIRConfig",
    "MambaIRv2",
    "MambaIRv2Config",
    "Network",
    "NetworkConfig",
    "build_network",
    "config_from_mapping",
    "set_backend",
]

NETWORKS: Final[tuple[type[Network], ...]] = (MaIRUNet, MambaIRv2, MambaIR, MaIRSPAN, MaIRFFDNet, MaIR)
"""Every network there is; each recognises its own checkpoints and settings."""


def build_network(config: Mapping[str, object] | NetworkConfig) -> Network:
    """A freshly initialised network in eval mode (network.md, 8).

    Args:
        config: settings under the published constructors' names, or a checked configuration.

    Returns:
        `MaIR`: (B, 3, H, W) float32 RGB in [0, 1] → (B, 3, H · scale, W · scale).

    Raises:
        UsageError: an unknown setting, or one out of range.
    """
    if isinstance(config, Mapping):
        config = config_from_mapping(config)
    kind = next(network for network in NETWORKS if network.config_type is type(config))
    return kind(config).eval()


def set_backend(network: nn.Module, backend: str) -> None:
    """Make every scan of a network use one back end: a name from `mair_cli.scan.dispatch.BACKENDS`, or `auto`."""
    for module in network.modules():
        if isinstance(module, ScanModule):
            module.scan_backend = backend
