"""Networks by name: of the catalog, or of a file."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import torch

from mair_cli.errors import UsageError, WeightsNotFoundError
from mair_cli.networks import Network, NetworkConfig
from mair_cli.restore.settings import RunSettings
from mair_cli.runtime.device import choose_device
from mair_cli.weights import cache, catalog, checkpoint, choice, hashes

__all__ = ["choose_model", "file_of", "load_network", "names_a_file"]

logger = logging.getLogger(__name__)


def load_network(
    source: Path | str,
    config: Mapping[str, object] | NetworkConfig | None = None,
    device: str | torch.device = "cpu",
    stripe: int | None = None,
) -> Network:
    """A network with trained weights, in eval mode: (B, 3, H, W) float32 RGB in [0, 1] → (B, 3, H · scale, W · scale).

    Args:
        source: a checkpoint file in the published format or our own, or a name in the catalog, such as "mair-t-x4". A
            file comes first; a text with a folder or an extension is never taken for a name.
        config: the file's settings under the published constructors' names, where it does not tell them itself.
        device: "cpu", "cuda", "cuda:N", "mps" or "auto", or PyTorch's own.
        stripe: the file's stripe width, where it does not tell it itself.

    Raises:
        UsageError: no such model; a wrong setting; `config` or `stripe` for a model of the catalog, which knows them.
        BackendError: the device is not usable here.
        WeightsNotFoundError: the model's weights have not been fetched yet.
        CheckpointError: the file is missing, unsafe, damaged or does not fit.
    """
    if not isinstance(source, (str, Path)):
        raise UsageError(f"`source` {source!r}: give a file, or a name in the catalog.")
    if config is not None and not isinstance(config, (Mapping, NetworkConfig)):
        raise UsageError(f"`config` {config!r}: give a mapping of the network's settings.")
    place = choose_device(str(device))
    if names_a_file(source):
        return checkpoint.load_network(Path(source), config, place, stripe)
    if config is not None or stripe is not None:
        raise UsageError("`config` and `stripe` belong to a file: models of the catalog know theirs.")
    return checkpoint.load_network(file_of(catalog.find(str(source))), device=place)


def names_a_file(source: Path | str) -> bool:
    """Whether a file is meant and not a model: it is there, or its name has a folder or an extension."""
    return isinstance(source, Path) or os.path.exists(source) or source != Path(source).stem  # noqa: PTH110


def file_of(entry: catalog.ModelEntry) -> Path:
    """The checked weights file of a model; raises WeightsNotFoundError where it has not been fetched yet."""
    if not cache.is_available(entry):
        raise WeightsNotFoundError(f"The weights of {entry.name} are not here yet: `mair download {entry.name}`.")
    return hashes.checked_file(entry)


def choose_model(asked: RunSettings) -> catalog.ModelEntry:
    """The catalog's entry for the job.

    Raises:
        UsageError: no such model, or it is made for something else.
        WeightsNotFoundError: none is at hand.
    """
    if asked.model != "auto":
        entry = catalog.find(asked.model)
        if asked.task is not None and asked.task not in entry.tasks:
            raise UsageError(f"`model` {entry.name} is made for {entry.purpose}, not for the task {asked.task!r}.")
        if asked.scene is not None and entry.scene not in (None, asked.scene):
            raise UsageError(f"`scene` {asked.scene}: {entry.name} is made for {entry.purpose}. Leave one out.")
        return entry
    level = None if asked.sigma == "auto" else asked.sigma
    try:
        return choice.select(asked.task or "sr", scale=asked.scale, sigma=level, scene=asked.scene)
    except WeightsNotFoundError:
        here = [entry for entry in catalog.MODELS.values() if entry.task == asked.task and cache.is_available(entry)]
        nearest = choice.nearest_denoiser(here, level)
        if nearest is None:
            raise
        logger.warning("No denoiser for this noise level is here: %s is the nearest.", nearest.name)
        return nearest
