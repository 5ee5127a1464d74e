"""Restore photographs with MaIR, a Mamba network, on any machine.

    restorer = mair_cli.Restorer(task="sr", scale=4)
    out = restorer(image)                       # NumPy array in, the same kind of array out
    restorer.file("small.jpg", "large.jpg")     # file to file, with profile, EXIF data and transparency
    net = mair_cli.load_network("mair-t-x4")    # torch.nn.Module; or a checkpoint file
    net = mair_cli.build_network(config)        # the same, freshly initialised

These names are loaded when first used: importing the package does not import PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from mair_cli.errors import MairError
from mair_cli.host_process import share_processors
from mair_cli.version import __version__

if TYPE_CHECKING:
    from mair_cli.networks import build_network
    from mair_cli.restore.loading import load_network
    from mair_cli.restore.restorer import Restorer
    from mair_cli.restore.settings import Levels, RunSettings

share_processors()

__all__ = ["Levels", "MairError", "Restorer", "RunSettings", "__version__", "build_network", "load_network"]

_HOMES = {
    "Levels": "mair_cli.restore.settings",
    "Restorer": "mair_cli.restore.restorer",
    "RunSettings": "mair_cli.restore.settings",
    "build_network": "mair_cli.networks",
    "load_network": "mair_cli.restore.loading",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
