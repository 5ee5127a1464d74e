"""MaIR, its U-shaped network and the MambaIR ones for spandrel, and so for chaiNNer, ComfyUI and all that load by it.

    import mair_cli.integrations.spandrel
    mair_cli.integrations.spandrel.register()
    model = spandrel.ModelLoader().load_from_file("MaIR_SR_x4.pth")

The package spandrel (extra `spandrel`) is imported only when something here is called.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from mair_cli.errors import CheckpointError, MairError, UsageError
from mair_cli.networks import NETWORKS, MaIR, MaIRFFDNet, MaIRSPAN, MambaIRv2, Network, build_network
from mair_cli.networks.levels import Level, levels_for
from mair_cli.networks.mair_unet import MaIRUNet
from mair_cli.networks.mambair import MambaIR
from mair_cli.restore.settings import RunSettings
from mair_cli.weights.catalog import MODELS
from mair_cli.weights.checkpoint import infer_settings
from mair_cli.weights.hashes import checked_file
from mair_cli.weights.safetensors_file import read_header

__all__ = ["register"]

State = Mapping[str, Any]

_FILE: Final = Path("the file")
"""What a checkpoint is called in messages: spandrel does not tell its name."""
_NAMES: Final = {
    MaIR: "MaIR",
    MaIRSPAN: "MaIR in SPAN",
    MaIRFFDNet: "MaIR in FFDNet",
    MaIRUNet: "MaIR U-Net",
    MambaIR: "MambaIR",
    MambaIRv2: "MambaIRv2",
}


class Registry(Protocol):
    """What is needed of spandrel's `ArchRegistry`."""

    def __iter__(self) -> Iterator[Any]:
        """What it knows."""

    def add(self, *architectures: Any, ignore_duplicates: bool = False) -> object:  # noqa: ANN401
        """Take more."""


@dataclass(frozen=True)
class Told:
    """What networks are told that take it, since spandrel hands them the picture alone.

    Attributes:
        stripe: width for files whose own cannot be known.
        sigma: noise level of 255.
        jpeg: JPEG quality; None for no JPEG.
    """

    stripe: int | None = None
    sigma: float = 0.0
    jpeg: int | None = None

    def levels(self, network: Network) -> dict[str, Level]:
        """As arguments of the network."""
        return levels_for(network.config, self.sigma, self.jpeg)


def register(
    registry: Registry | None = None, *, stripe: int | None = None, sigma: float = 0.0, jpeg: int | None = None
) -> None:
    """Teach spandrel our networks; what it knows already stays as it is, and a second call changes nothing.

    Args:
        registry: to add to; None for the one that every `ModelLoader` uses.
        stripe: stripe width, 4 or 8, for files whose own cannot be known: neither published nor bundled.
        sigma: noise level of 255 that networks of ours are told, 0 to 75.
        jpeg: JPEG quality that they are told, 1 to 100; None for no JPEG.

    Raises:
        UsageError: spandrel is not installed, or a value is out of range.
    """
    if stripe is not None and stripe < 1:
        raise UsageError(f"`stripe` {stripe}: give 4 or 8.")
    RunSettings(sigma=float(sigma), jpeg="off" if jpeg is None else int(jpeg))  # which checks them
    try:
        from spandrel import MAIN_REGISTRY, ArchSupport
    except ImportError as error:
        raise UsageError(f"spandrel cannot be used ({error}): pip install 'mair-cli[spandrel]'") from error
    registry = MAIN_REGISTRY if registry is None else registry
    # First of all, since no network but ours passes our test of names and shapes.
    others = tuple(support.architecture.id for support in registry)
    told = Told(stripe, sigma, jpeg)
    for kind, name in _NAMES.items():
        support = ArchSupport.from_architecture(_architecture(kind, name, told), before=others)
        registry.add(support, ignore_duplicates=True)


def recognises(kind: type[Network], state: State) -> bool:
    """Whether a state dict is one of a network of this kind: every name and shape, nothing missing or left over."""
    if not all(isinstance(value, Tensor) for value in state.values()):
        return False
    if next((network for network in NETWORKS if network.recognises(state)), None) is not kind:
        return False
    try:
        settings = kind.infer_settings(state) | ({"scan_len": 8} if kind.scans_stripes else {})
        with torch.device("meta"):
            expected = _shapes(build_network(settings).state_dict())
    except (MairError, LookupError, ValueError, ZeroDivisionError):
        return False
    return expected == _shapes(_parameters(kind, state))


def _shapes(state: State) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _parameters(kind: type[Network], state: State) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if name not in kind.constants}


def _architecture(kind: type[Network], name: str, told: Told) -> Any:  # noqa: ANN401 - an Architecture of spandrel
    """What spandrel keeps of one kind of network."""
    from spandrel import Architecture, ImageModelDescriptor

    class OurArchitecture(Architecture[Network]):  # type: ignore[misc, unused-ignore]
        """Loads state dicts of `kind`."""

        def load(self, state_dict: dict[str, Any]) -> ImageModelDescriptor[Network]:
            """The network with its weights; raises CheckpointError where the stripe width is unknown."""
            network = build_network(_settings(kind, state_dict, told.stripe))
            channels = network.config.colors
            # MambaIRv2 sorts pixels by their likeliest kind: fewer bits sort many otherwise (up to 0.14 of 1 measured).
            precise = kind is not MambaIRv2
            return ImageModelDescriptor(
                network,
                _parameters(kind, state_dict),
                architecture=self,
                purpose="SR" if network.scale > 1 else "Restoration",
                tags=[*([f"stripe {network.stripe}"] if network.stripe else []), *network.levels],
                supports_half=precise,
                supports_bfloat16=precise,
                scale=network.scale,
                input_channels=channels,
                output_channels=channels,
                call_fn=lambda model, image: model(image, **told.levels(model)),
            )

    return OurArchitecture(id=name.replace(" ", ""), name=name, detect=lambda state: recognises(kind, state))


def _settings(kind: type[Network], state: State, stripe: int | None) -> dict[str, object]:
    """Settings of a state dict; what it does not tell is that of the published or bundled network of its shapes."""
    if kind.scans_stripes and kind.published_stripe(kind.infer_settings(state)) is None:
        bundled = _bundled_settings().get(_key(_shapes(state)))
        if bundled is not None:
            return bundled
    try:
        return infer_settings(_FILE, state, stripe)
    except CheckpointError as error:
        raise CheckpointError("The stripe width cannot be read from the file: call register(stripe=8) or 4.") from error


@cache
def _bundled_settings() -> dict[object, dict[str, object]]:
    """Settings by names and shapes of the networks that ship with the package."""
    found: dict[object, dict[str, object]] = {}
    for entry in MODELS.values():
        if entry.origin == "bundled":
            header = read_header(checked_file(entry))
            shapes = {name: tuple(told["shape"]) for name, told in header.tensors.items() if isinstance(told, dict)}
            found[_key(shapes)] = json.loads(header.metadata["config"])
    return found


def _key(shapes: Mapping[str, tuple[int, ...]]) -> object:
    return frozenset(shapes.items())
