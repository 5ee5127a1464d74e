"""The state of a run on disk: all that `--resume` needs to go on as if nothing had happened."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from mair_cli.errors import CheckpointError, TrainingError
from mair_cli.store.atomic import atomic_write
from mair_cli.store.files import disk_errors_as

# Raise it when a state of an older version could not be resumed exactly.
STATE_VERSION = 2


@dataclass
class TrainingState:
    """What changes while training. Everything random is a pure function of (seed, step), so no generator is in here.

    Attributes:
        step: steps done.
        seconds: time spent on them, over all stretches.
        network: state dict of the network.
        average: state dict of the moving average.
        optimizer: state dicts of the optimisers.
        settings: the run's settings as a plain mapping.
        best: highest validation PSNR so far, dB; None before the first validation.
        best_step: the step it was measured at.
        loss_since_report: sum of the losses that no log row holds yet.
        steps_since_report: their number.
    """

    step: int
    seconds: float
    network: dict[str, Any]
    average: dict[str, Any]
    optimizer: list[dict[str, Any]]
    settings: dict[str, Any]
    best: float | None
    best_step: int
    loss_since_report: float
    steps_since_report: int


_NAMES = [field.name for field in fields(TrainingState)]


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file in one go.

    Raises TrainingError when the disk is full or the folder cannot be written; the file's previous content is intact.
    """
    way_out = "; make room or choose another --output, then go on with --resume"
    if path.exists():
        way_out += " (the previous file is intact)"
    with disk_errors_as(TrainingError, f"cannot save {path}", way_out), atomic_write(path) as stream:
        stream.write(data)


def save_state(path: Path, state: TrainingState) -> None:
    """Write `state` atomically; raises TrainingError when that fails, the previous file then being intact."""
    buffer = io.BytesIO()
    torch.save({"version": STATE_VERSION, **{key: getattr(state, key) for key in _NAMES}}, buffer)
    write_atomically(path, buffer.getvalue())


def load_state(path: Path) -> TrainingState:
    """Read what `save_state` wrote, tensors on the CPU. Raises CheckpointError when the file is not such a state."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        version = content.pop("version")
        if version != STATE_VERSION:
            raise CheckpointError(f"{path} was saved by another version of mair-cli (state {version}); start anew")
        return TrainingState(**content)
    except (OSError, RuntimeError, pickle.UnpicklingError, KeyError, TypeError, AttributeError, EOFError) as error:
        raise CheckpointError(f"{path} is not a training state: {error}") from error
