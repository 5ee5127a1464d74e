"""Whether a run folder and the settings at hand belong together."""

from __future__ import annotations

import logging
import reprlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from torch import Tensor, nn

from mair_cli.errors import CheckpointError, TrainingError, UsageError
from mair_cli.store.files import disk_errors_as
from mair_cli.store.locks import exclusive
from mair_cli.training.files import LOCK_FILE, STATE_FILE
from mair_cli.training.optimizers import Optimizers, expected_state
from mair_cli.training.recipe import Settings, settings_from_mapping
from mair_cli.training.state import TrainingState
from mair_cli.weights.checkpoint import check_tensor

logger = logging.getLogger(__name__)

# Settings that leave the curve as it is.
_HARMLESS = {
    "output",
    "network.use_checkpoint",
    "data.cache",
    "data.workers",
    "data.strict",
    "training.threads",
    "training.tensorboard",
    "training.log_every",
    "training.save_every",
    "validation.images",
    "validation.pairs",
    "validation.every",
    "validation.crop",
    "validation.degradations",
}


def refuse_to_overwrite(settings: Settings) -> None:
    """Raise UsageError when the run folder holds a run already."""
    if (settings.folder / STATE_FILE).exists():
        raise UsageError(f"{settings.folder} holds a run already: go on with `resume`, or choose another `output`")


@contextmanager
def sole_user(folder: Path) -> Iterator[None]:
    """Keep other processes from training in `folder`, for as long as this one lives or until the block ends.

    Raises TrainingError when another one does already, or when the folder cannot be written.
    """
    with ExitStack() as stack:
        with disk_errors_as(TrainingError, f"cannot write {folder}", ""):
            ours = stack.enter_context(exclusive(folder / LOCK_FILE))
        if not ours:
            raise TrainingError(f"another process is training in {folder}: wait for it, or choose another `output`")
        yield


def check_same_run(state: TrainingState, settings: Settings) -> None:
    """Raise TrainingError when `state` cannot go on under `settings`; warn of changes that alter the curve."""
    # Read again, so that settings which the version that saved it did not have take their defaults.
    then, now = flat(settings_from_mapping(state.settings, STATE_FILE).to_mapping()), flat(settings.to_mapping())
    changed = [key for key in now if then.get(key) != now[key] and key not in _HARMLESS]
    for key in changed:
        change = f"{key} was {reprlib.repr(then.get(key))} and is now {now.get(key)!r}"
        if key in ("task", "training.optimizer") or key.startswith("network."):
            raise TrainingError(f"cannot resume: {change}; choose another `output`, or training.start_from")
        logger.warning("resuming with other settings: %s; the curve differs from an uninterrupted run", change)


def restore(state: TrainingState, network: nn.Module, average: nn.Module, optimizer: Optimizers) -> None:
    """Copy the tensors of `state` into the parts of a run, after a check that they belong there.

    The optimisers keep this run's settings (betas and the like). Raises CheckpointError when names, shapes or types
    differ: PyTorch checks only some of them, and a step with moments of another shape writes beyond their end.
    """
    _check_alike("network", state.network, network.state_dict())
    _check_alike("average", state.average, average.state_dict())
    if len(state.optimizer) != len(optimizer.parts):
        raise CheckpointError("cannot resume: the state was saved with another training.optimizer")
    parts = []
    for saved, part in zip(state.optimizer, optimizer.parts, strict=True):
        moments = saved.get("state")
        parameters = [parameter for group in part.param_groups for parameter in group["params"]]
        if not isinstance(moments, dict) or not moments.keys() <= set(range(len(parameters))):
            raise CheckpointError("cannot resume: the saved optimiser has other parameters than this run's")
        for index, values in moments.items():
            _check_alike(f"optimiser, parameter {index}", values, expected_state(part, parameters[index]))
        parts.append({"state": moments, "param_groups": part.state_dict()["param_groups"]})
    network.load_state_dict(state.network)
    average.load_state_dict(state.average)
    optimizer.load_state_dict(parts)


def _check_alike(what: str, saved: object, own: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError unless `saved` holds tensors of the names, shapes and types of `own`."""
    if not isinstance(saved, dict) or saved.keys() != own.keys():
        raise CheckpointError(f"cannot resume: the saved {what} has other entries than this run's")
    for name, like in own.items():
        value, where = saved[name], f"cannot resume: the saved {what}, {name}"
        if not isinstance(value, Tensor):
            raise CheckpointError(f"{where} is no tensor")
        check_tensor(where, value)
        if value.shape != like.shape or value.dtype != like.dtype:
            raise CheckpointError(
                f"{where} is {tuple(value.shape)} {value.dtype}, not {tuple(like.shape)} {like.dtype}"
            )


def flat(mapping: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """A nested mapping as one level, with dotted keys and lists for tuples."""
    result: dict[str, object] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = _listed(value)
    return result


def _listed(value: object) -> object:
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value
