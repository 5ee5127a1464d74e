"""Starting from other weights: what fits is taken over, the rest keeps its fresh values and is reported."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from mair_cli.errors import TrainingError
from mair_cli.networks import Network, NetworkConfig
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


def start_from(network: Network, path: str) -> PartialLoad:
    """Copy what fits from a checkpoint file, and log what was skipped.

    Levels that only one of the two networks takes are no obstacle: new ones begin with weights of 0, so that at first
    the network does what it did before.

    Raises CheckpointError when the file cannot be read, TrainingError when nothing in it fits.
    """
    # The stripe width is that of the new network: no parameter depends on it, and many files do not tell their own.
    stripe = network.stripe
    checkpoint = load_checkpoint(Path(path).expanduser(), stripe=None if path.endswith(".safetensors") else stripe)
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
