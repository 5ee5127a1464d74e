"""The state of a run on disk: all that `--resume` needs to go on as if nothing had happened."""

from __future__ import annotations

import io
import os
import pickle
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from mair_cli.errors import CheckpointError, TrainingError

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
    """Write a file in one go: under a temporary name in the same folder, flushed to disk, then renamed.

    Raises TrainingError when the disk is full or the folder cannot be written; the file's previous content is intact.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise TrainingError(
            f"cannot save {path}: {error.strerror}; make room or choose another --output, then go on with --resume"
            + (" (the previous file is intact)" if path.exists() else "")
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


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
