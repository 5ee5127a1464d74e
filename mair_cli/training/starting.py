"""What a run starts with: values drawn by name; other weights, of which what fits is taken over, the rest reported."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mair_cli.errors import TrainingError, UsageError
from mair_cli.networks import Network, NetworkConfig
from mair_cli.networks.blocks import PrimitiveModule, initialise_linear_layers
from mair_cli.store.paths import expanded
from mair_cli.weights.checkpoint import load_checkpoint

logger = logging.getLogger(__name__)

# Where levels enter: MaIR and MambaIR, the U-shaped network.
FIRST_CONVOLUTIONS = {"conv_first.weight", "patch_embed.proj.weight"}


@dataclass(frozen=True)
class PartialLoad:
    """Outcome of `load_partially`.

    Attributes:
        loaded: names of the entries that were taken over.
        skipped: one line for each entry that was not: its name and why.
    """

    loaded: tuple[str, ...]
    skipped: tuple[str, ...]


def draw_start_values(network: nn.Module, seed: int) -> None:
    """Draw the start values of all parameters anew, from the distributions that the network has for them.

    Those of each layer follow from its name and `seed` alone. Networks that differ in one part therefore start equally
    in all others, and what they come to can be compared in pairs. PyTorch's own generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        for name, module in network.named_modules():
            digest = hashlib.sha256(f"{seed}|{name}".encode()).digest()
            torch.manual_seed(int.from_bytes(digest[:8], "little"))
            if isinstance(module, PrimitiveModule):
                module.initialise()
            elif isinstance(module, nn.Linear | nn.Conv2d | nn.LayerNorm):
                module.reset_parameters()
                initialise_linear_layers(module)


def load_partially(network: nn.Module, weights: Mapping[str, Tensor]) -> PartialLoad:
    """Copy the entries of `weights` that have the same name and shape in `network`.

    Raises TrainingError when nothing fits, since training would then silently start from scratch.
    """
    own = network.state_dict()
    loaded: dict[str, Tensor] = {}
    skipped = [f"{name}: not in these weights" for name in own if name not in weights]
    for name, value in weights.items():
        if name not in own:
            skipped.append(f"{name}: not in this network")
        elif own[name].shape != value.shape:
            skipped.append(f"{name}: {tuple(value.shape)} there, {tuple(own[name].shape)} here")
        else:
            loaded[name] = value
    if not loaded:
        raise TrainingError("none of the weights in training.start_from fits this network")
    network.load_state_dict(own | loaded)
    return PartialLoad(tuple(loaded), tuple(skipped))


def refuse_missing_start(path: str) -> None:
    """Raise UsageError when `training.start_from` is given and is no file."""
    if path and not expanded(path).is_file():
        raise UsageError(f"training.start_from: there is no file {path}")


def start_from(network: Network, path: str) -> PartialLoad:
    """Copy what fits from a checkpoint file, and log what was skipped.

    Levels that only one of the two networks takes are no obstacle: new ones begin with weights of 0, so that at first
    the network does what it did before.

    Raises CheckpointError when the file cannot be read, TrainingError when nothing in it fits.
    """
    # The stripe width is that of the new network: no parameter depends on it, and many files do not tell their own.
    checkpoint = load_checkpoint(expanded(path), stripe=None if path.endswith(".safetensors") else network.stripe)
    weights = match_levels(checkpoint.state_dict, checkpoint.config, network.config)
    outcome = load_partially(network, weights)
    total = len(outcome.loaded) + len(outcome.skipped)
    logger.info("started from %s: %d of %d entries taken over", path, len(outcome.loaded), total)
    for line in outcome.skipped:
        logger.warning("skipped %s", line)
    return outcome


def match_levels(weights: Mapping[str, Tensor], there: NetworkConfig, here: NetworkConfig) -> dict[str, Tensor]:
    """Lay the first convolution's input channels out as `here` has them: colours, then its levels, new ones 0."""
    matched = dict(weights)
    for name in FIRST_CONVOLUTIONS & matched.keys():
        old = matched[name]
        colors = old.shape[1] - len(there.levels)
        new = old.new_zeros(old.shape[0], colors + len(here.levels), *old.shape[2:])
        new[:, :colors] = old[:, :colors]
        for place, level in enumerate(here.levels):
            if level in there.levels:
                new[:, colors + place] = old[:, colors + there.levels.index(level)]
        matched[name] = new
    return matched
