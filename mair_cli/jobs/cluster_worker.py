"""What runs on the machines of a cluster: an actor with a loaded network, and the count of who died over what."""

from __future__ import annotations

import io
import os
import pickle
import platform
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mair_cli.host_process import keep_freed_memory
from mair_cli.jobs.batch import Outcome, Streams, Treatment, restore_job
from mair_cli.jobs.plan import Job
from mair_cli.restore.any_size import load_restorer
from mair_cli.restore.settings import RunSettings

MOST_ATTEMPTS: Final = 3
"""Workers that a picture may take with it before it is given up."""


@dataclass(frozen=True)
class Engine:
    """By what a picture was restored; see `restorer.Restorer`."""

    model_name: str
    backend: str
    device: str
    precision: str


@dataclass(frozen=True)
class Done:
    """What became of a job, by what, and on which node."""

    outcome: Outcome
    engine: Engine
    node: str


@dataclass(frozen=True)
class Load:
    """All that an actor needs.

    Attributes:
        run: how the network is run.
        treatment: how pictures are written.
        weights: name and content of the file that `run.weights` names.
        published: names and contents of the published weights that the choice of a model may fall on, so that it falls
            on the same one on every machine.
        cwd: the driver's folder.
    """

    run: RunSettings
    treatment: Treatment
    weights: tuple[str, bytes] | None
    published: Mapping[str, bytes]
    cwd: str

    @classmethod
    def of(cls, run: RunSettings, treatment: Treatment, published: Mapping[str, Path]) -> Load:
        """Read the files. Raises OSError."""
        path = None if run.weights is None else Path(run.weights)
        weights = None if path is None else (path.name, path.read_bytes())
        return cls(
            run, treatment, weights, {name: file.read_bytes() for name, file in published.items()}, str(Path.cwd())
        )

    def unpacked(self, folder: Path) -> RunSettings:
        """Write the files into a folder, which becomes the cache of this process; the settings that name them."""
        cache = folder / "cache"
        (cache / "weights").mkdir(parents=True)
        for name, content in self.published.items():
            (cache / "weights" / name).write_bytes(content)
        os.environ["MAIR_CACHE_DIR"] = str(cache)
        if self.weights is None:
            return self.run
        path = folder / self.weights[0]
        path.write_bytes(self.weights[1])
        return self.run.with_(weights=path)


class Coordinator:
    """Hands out the load, and counts how often each picture was begun and not finished.

    An actor of its own beside the driver, which outlives those that work.
    """

    def __init__(self, load: Load) -> None:
        self._load = load
        self._begun: dict[int, int] = {}

    def load(self) -> Load:
        """What an actor needs."""
        return self._load

    def begin(self, index: int) -> int:
        """How often, this time included."""
        self._begun[index] = self._begun.get(index, 0) + 1
        return self._begun[index]

    def end(self, index: int) -> None:
        """It is finished."""
        self._begun.pop(index, None)


class RestoringActor:
    """A network, loaded once, that restores one picture after the other."""

    def __init__(self, coordinator: Any) -> None:  # noqa: ANN401 - Ray's handle
        """Load the network; `coordinator` is the handle of a `Coordinator`."""
        import ray

        keep_freed_memory()
        given: Load = ray.get(coordinator.load.remote())
        with suppress(OSError):  # relative names are those of files that all machines share
            os.chdir(given.cwd)
        self._folder = tempfile.TemporaryDirectory(prefix="mair-actor-")
        run = given.unpacked(Path(self._folder.name))
        self._restorer = load_restorer(run)
        self._treatment, self._coordinator = given.treatment, coordinator
        self._engine = Engine(
            self._restorer.model_name, self._restorer.backend, str(self._restorer.device), self._restorer.precision
        )
        self._node = platform.node()

    def __call__(self, row: Mapping[str, Any]) -> dict[str, bytes]:
        """Restore the picture of a row `index`, `job` (pickled); a row `done`, a pickled `Done`."""
        import ray

        index, job = int(row["index"]), pickle.loads(row["job"])
        attempt = ray.get(self._coordinator.begin.remote(index))
        outcome = self._outcome(job, attempt)
        ray.get(self._coordinator.end.remote(index))
        return {"done": pickle.dumps(Done(outcome, self._engine, self._node))}

    def _outcome(self, job: Job, attempt: int) -> Outcome:
        if attempt > MOST_ATTEMPTS:
            return Outcome(job, error=f"{job.source.name}: given up: {MOST_ATTEMPTS} workers died over it")
        streams = Streams(io.BytesIO(), lambda data: None)
        try:
            return restore_job(job, self._restorer, self._treatment, streams)
        except Exception as error:  # noqa: BLE001 - the top of its process: what passes here, Ray tries for ever
            return Outcome(job, error=f"{job.source.name}: {type(error).__name__}: {error}")
