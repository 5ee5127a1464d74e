"""Exporting the averaged weights as a checkpoint that every other command reads."""

from __future__ import annotations

import json
from pathlib import Path

from torch import nn

from mair_cli.errors import TrainingError
from mair_cli.training.recipe import Settings
from mair_cli.training.validation import ValidationScore
from mair_cli.version import __version__
from mair_cli.weights.checkpoint import save_checkpoint


def export_weights(
    path: Path, network: nn.Module, settings: Settings, step: int, measured: list[ValidationScore]
) -> None:
    """Write `network` (the moving average) to `path` as safetensors, with how it came to be in the metadata.

    Raises TrainingError when the file cannot be written.
    """
    metadata = {
        "name": settings.name,
        "task": settings.task,
        "mair_cli": __version__,
        "step": str(step),
        "recipe": json.dumps(portable(settings)),
        "validation": json.dumps({item.measure: [round(item.psnr, 4), round(item.ssim, 5)] for item in measured}),
    }
    try:
        save_checkpoint(path, network.state_dict(), settings.network, metadata)
    except OSError as error:
        raise TrainingError(f"cannot write {path}: {error.strerror}") from error


def portable(settings: Settings) -> dict[str, object]:
    """The settings without what belongs to one machine: folders shrink to their names, the output is left out."""
    mapping = settings.to_mapping()
    del mapping["output"], mapping["network"]  # the network is in the metadata already
    places = {"data": ("images", "pairs", "targets"), "validation": ("images", "pairs")}
    for section, key in ((section, key) for section, keys in places.items() for key in keys):
        values = mapping[section]
        assert isinstance(values, dict)
        values[key] = [Path(place).name for place in values[key]]
    data, training = mapping["data"], mapping["training"]
    assert isinstance(data, dict)
    assert isinstance(training, dict)
    del data["cache"], data["workers"], training["threads"]
    training["start_from"] = Path(training["start_from"]).name
    return mapping
