"""The state of a run on disk: all that `--resume` needs to go on as if nothing had happened."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from mair_cli.errors import CheckpointError, TrainingError
from mair_cli.store.atomic import atomic_write
from mair_cli.store.files import disk_errors_as
from mair_cli.weights.checkpoint import check_size
from mair_cli.weights.pickle_check import load_pickle

# Raise it when a state of an older version could not be resumed exactly.
STATE_VERSION = 3
_WITHOUT_CHECKSUM: Final = 2

# After the last byte that PyTorch reads: a mark, and the SHA-256 of all before it.
_MARK: Final = b"\nSHA-256\n"
_DIGEST: Final = 32
_TRAILER: Final = len(_MARK) + _DIGEST
_DEEPEST: Final = 8
_MISSING: Final = object()


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


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]  # a bool is none


def _is_optional_number(value: object) -> bool:
    return value is None or _is_number(value)


def _is_tree(value: object, depth: int = 0) -> bool:
    """Whether settings are mappings and lists of plain values, no deeper than recipes are."""
    if depth > _DEEPEST:
        return False
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_tree(item, depth + 1) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(_is_tree(item, depth + 1) for item in value)
    return value is None or isinstance(value, str | int | float)


def _is_mapping(value: object) -> bool:
    return isinstance(value, dict)


def _is_settings(value: object) -> bool:
    return _is_mapping(value) and _is_tree(value)


def _is_list_of_mappings(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_mapping, value))


_KINDS: Final[Mapping[str, Callable[[object], bool]]] = {
    "step": _is_count,
    "seconds": _is_number,
    "network": _is_mapping,
    "average": _is_mapping,
    "optimizer": _is_list_of_mappings,
    "settings": _is_settings,
    "best": _is_optional_number,
    "best_step": _is_count,
    "loss_since_report": _is_number,
    "steps_since_report": _is_count,
}
"""The fields of a state and what each must be."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file in one go.

    Raises TrainingError when the disk is full or the folder cannot be written; the file's previous content is intact.
    """
    way_out = "; make room or choose another `output`, then go on with `resume`"
    if path.exists():
        way_out += " (the previous file is intact)"
    with disk_errors_as(TrainingError, f"cannot save {path}", way_out), atomic_write(path) as stream:
        stream.write(data)


def save_state(path: Path, state: TrainingState) -> None:
    """Write `state` atomically; raises TrainingError when that fails, the previous file then being intact."""
    buffer = io.BytesIO()
    torch.save({"version": STATE_VERSION, **{name: getattr(state, name) for name in _KINDS}}, buffer)
    content = buffer.getvalue()
    write_atomically(path, content + _MARK + hashlib.sha256(content).digest())


def load_state(path: Path) -> TrainingState:
    """Read what `save_state` wrote, tensors on the CPU; version 2, which had no checksum yet, is read too.

    Raises CheckpointError when the file is not such a state. Whether its tensors fit the run: see `resuming.restore`.
    """
    with disk_errors_as(CheckpointError, f"{path} cannot be read"):
        check_size(path)
        data = path.read_bytes()
    content, mark, digest = data[:-_TRAILER], data[-_TRAILER:-_DIGEST], data[-_DIGEST:]
    checked = mark == _MARK
    if checked and hashlib.sha256(content).digest() != digest:
        raise CheckpointError(f"{path} is damaged: its content does not fit the checksum stored in it")
    values = load_pickle(io.BytesIO(content if checked else data), path)
    version = values.pop("version", None) if isinstance(values, dict) else None
    if not isinstance(values, dict) or not isinstance(version, int):
        raise CheckpointError(f"{path} is not a training state")
    if version not in (STATE_VERSION, _WITHOUT_CHECKSUM):
        raise CheckpointError(f"{path} was saved by another version of mair-cli (state {version}); start anew")
    if version == STATE_VERSION and not checked:
        raise CheckpointError(f"{path} is damaged, or was changed after it was written: its checksum is missing")
    wrong = [str(name)[:40] for name in values if name not in _KINDS]
    wrong += [name for name, is_sound in _KINDS.items() if not is_sound(values.get(name, _MISSING))]
    if wrong:
        raise CheckpointError(f"{path} is not a sound training state: {', '.join(wrong[:3])} cannot be right")
    return TrainingState(**values)
