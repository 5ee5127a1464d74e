"""Starting from other weights: what fits is taken over, the rest keeps its fresh values and is reported."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from mair_cli.errors import TrainingError
from mair_cli.weights.checkpoint import load_checkpoint

logger = logging.getLogger(__name__)


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


def start_from(network: nn.Module, path: str) -> PartialLoad:
    """Copy what fits from a checkpoint file, and log what was skipped.

    Raises CheckpointError when the file cannot be read, TrainingError when nothing in it fits.
    """
    checkpoint = load_checkpoint(Path(path).expanduser())
    outcome = load_partially(network, checkpoint.state_dict)
    total = len(outcome.loaded) + len(outcome.skipped)
    logger.info("started from %s: %d of %d entries taken over", path, len(outcome.loaded), total)
    for line in outcome.skipped:
        logger.warning("skipped %s", line)
    return outcome
