"""Whether a run folder and the settings at hand belong together."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mair_cli.errors import TrainingError, UsageError
from mair_cli.store.files import disk_errors_as
from mair_cli.store.locks import exclusive
from mair_cli.training.files import LOCK_FILE, STATE_FILE
from mair_cli.training.recipe import Settings, settings_from_mapping
from mair_cli.training.state import TrainingState

logger = logging.getLogger(__name__)

# Settings that leave the curve as it is.
_HARMLESS = {
    "output",
    "data.cache",
    "data.workers",
    "data.strict",
    "training.threads",
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
        raise UsageError(f"{settings.folder} holds a run already: go on with --resume, or choose another --output")


@contextmanager
def sole_user(folder: Path) -> Iterator[None]:
    """Keep other processes from training in `folder`, for as long as this one lives or until the block ends.

    Raises TrainingError when another one does already, or when the folder cannot be written.
    """
    with ExitStack() as stack:
        with disk_errors_as(TrainingError, f"cannot write {folder}", ""):
            ours = stack.enter_context(exclusive(folder / LOCK_FILE))
        if not ours:
            raise TrainingError(f"another process is training in {folder}: wait for it, or choose another --output")
        yield


def check_same_run(state: TrainingState, settings: Settings) -> None:
    """Raise TrainingError when `state` cannot go on under `settings`; warn of changes that alter the curve."""
    # Read again, so that settings which the version that saved it did not have take their defaults.
    then, now = flat(settings_from_mapping(state.settings, STATE_FILE).to_mapping()), flat(settings.to_mapping())
    changed = [key for key in now if then.get(key) != now[key] and key not in _HARMLESS]
    for key in changed:
        change = f"{key} was {then.get(key)!r} and is now {now.get(key)!r}"
        if key in ("task", "training.optimizer") or key.startswith("network."):
            raise TrainingError(f"cannot resume: {change}; choose another --output, or training.start_from")
        logger.warning("resuming with other settings: %s; the curve differs from an uninterrupted run", change)


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
