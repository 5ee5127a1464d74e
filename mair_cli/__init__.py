"""Restore photographs with MaIR, a Mamba network, on any machine.

    restorer = mair_cli.Restorer(task="sr", scale=4)
    out = restorer(image)                       # NumPy array in, the same kind of array out
    net = mair_cli.load_network("file.pth")     # torch.nn.Module
    net = mair_cli.build_network(config)        # the same, freshly initialised

These names are loaded when first used: importing the package does not import PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from mair_cli.errors import MairError
from mair_cli.version import __version__

if TYPE_CHECKING:
    from mair_cli.networks import build_network
    from mair_cli.restore.restorer import Restorer
    from mair_cli.weights.checkpoint import load_network

__all__ = ["MairError", "Restorer", "__version__", "build_network", "load_network"]

_HOMES = {
    "Restorer": "mair_cli.restore.restorer",
    "build_network": "mair_cli.networks",
    "load_network": "mair_cli.weights.checkpoint",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
