"""The part of restoring commands that works on addresses and clusters."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mair_cli.errors import UsageError
from mair_cli.restore.settings import RunSettings

if TYPE_CHECKING:
    from mair_cli.cli.option_sets import RestoreOptions
    from mair_cli.jobs.batch import Treatment
    from mair_cli.jobs.cluster import ClusterRun

_LARGEST_WEIGHTS = 8 << 30


@contextmanager
def weights_here(run: RunSettings) -> Iterator[RunSettings]:
    """The settings with weights as a file on this machine: what lies elsewhere is fetched for the length of a block.

    Raises UsageError where there is no such file.
    """
    from mair_cli.store.remote import Address, parse_place

    place = None if run.weights is None else parse_place(str(run.weights))
    if not isinstance(place, Address):
        if place is not None and not place.is_file():
            raise UsageError(f"--weights {run.weights}: no such file.")
        yield run if place is None else run.with_(weights=place)
        return
    with tempfile.TemporaryDirectory(prefix="mair-weights-") as folder:
        path = Path(folder, place.name)
        try:
            place.fetch(path, _LARGEST_WEIGHTS)
        except OSError as error:
            raise UsageError(f"--weights {place}: {error.strerror}.") from error
        yield run.with_(weights=path)


def check_cluster_options(options: RestoreOptions) -> None:
    """Refuse what does not go together with a cluster, or without one."""
    if options.cluster is None:
        if options.actors is not None:
            raise UsageError("--actors is about --cluster: leave it out.")
        return
    parse_actors(options.actors)
    if "-" in options.inputs or options.output == "-":
        raise UsageError("--cluster takes files, not standard streams: name inputs and an output.")


def parse_actors(value: str | None) -> int | None:
    """A number, or None for `auto`. Raises UsageError."""
    if value is None or value.strip().lower() == "auto":
        return None
    if not value.strip().isdecimal() or int(value) < 1:
        raise UsageError(f"--actors {value}: give auto, or a number, 1 or more.")
    return int(value)


def cluster_run(options: RestoreOptions, run: RunSettings, treatment: Treatment) -> ClusterRun:
    """The batch as a cluster gets it: with the weights that are here, so that every node takes the same."""
    from mair_cli.jobs.cluster import ClusterRun, ClusterSettings
    from mair_cli.weights.cache import is_available, weights_file
    from mair_cli.weights.catalog import MODELS

    task = run.asked_task
    published = [
        weights_file(entry)
        for entry in MODELS.values()
        if run.weights is None and entry.origin == "published" and task.name in entry.tasks and is_available(entry)
        if run.model in ("auto", entry.name) and (run.scale is None or not task.enlarges or entry.scale == run.scale)
    ]
    settings = ClusterSettings(options.cluster or "local", parse_actors(options.actors) or "auto", run.threads)
    return ClusterRun(settings, run, treatment, {path.name: path for path in published})
