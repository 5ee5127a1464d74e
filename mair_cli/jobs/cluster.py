"""A batch on many machines, by Ray Data: one row a picture, actors that each hold a loaded network.

Where work is done, what is done again after a machine died, and how much is on its way, decides Ray. What a picture's
job is and what becomes of it is `plan` and `batch`, as on one machine; rows carry names and outcomes, never pixels.
"""

from __future__ import annotations

import gc
import logging
import os
import pickle
import signal
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

from mair_cli.errors import MairError, UsageError, first_line
from mair_cli.jobs.batch import Treatment
from mair_cli.jobs.cluster_worker import Coordinator, Done, Load, RestoringActor
from mair_cli.jobs.plan import Job
from mair_cli.restore.settings import RunSettings

log = logging.getLogger(__name__)

LOCAL: Final = "local"
_WAVE: Final = 10_000  # pictures that Ray knows of at a time: what it keeps of each in the driver stays bounded
_MOST_THREADS: Final = 4  # of an actor, where nobody says: more pictures at once beat more threads for one
_IN_FLIGHT: Final = 2  # pictures that an actor holds: the one in work, and the next
_STORE_BYTES: Final = 128 << 20  # rows are small
_CONNECT_SECONDS: Final = "20"


@dataclass(frozen=True)
class ClusterSettings:
    """Which machines, and how they are shared out.

    Attributes:
        address: "local" starts Ray on this machine; else what `ray.init` takes: `auto`, `HOST:PORT`, `ray://HOST:PORT`.
        actors: networks at work at once; "auto" fills the cluster.
        threads: CPU threads of each; None for the smallest node's share, at most 4.
    """

    address: str = LOCAL
    actors: int | Literal["auto"] = "auto"
    threads: int | None = None


@dataclass(frozen=True)
class Share:
    """What each of `actors` actors gets: CPUs, which are its threads, and GPUs."""

    actors: int
    threads: int
    gpus: int


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Ray, started here or found at an address; left again at the end, which ends all actors.

    Raises:
        UsageError: it is not installed, or nothing answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody asked for reports to be sent
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its warnings to its developers go to our user's terminal
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_gcs_rpc_server_connect_timeout_s", _CONNECT_SECONDS)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UsageError(f"`cluster` needs Ray ({error}): `pip install 'mair-cli[cluster]'`.") from error
    if ray.is_initialized():  # by whoever calls us
        yield
        return
    _check_reachable(address)
    ours = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    local = {"include_dashboard": False, "object_store_memory": _STORE_BYTES} if address == LOCAL else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise UsageError(f"`cluster` {address}: {first_line(error)}") from error
    for number, handler in ours.items():  # Ray puts its own in their places
        signal.signal(number, handler)
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Ask the port, since Ray itself tries for minutes. Raises UsageError."""
    import socket

    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address in (LOCAL, "auto"):
        return
    if not host or not port.isdecimal():
        raise UsageError(f"`cluster` {address}: give local, auto, HOST:PORT or ray://HOST:PORT.")
    try:
        socket.create_connection((host, int(port)), timeout=float(_CONNECT_SECONDS)).close()
    except (OSError, OverflowError) as error:
        raise UsageError(f"`cluster` {address}: nothing answers there ({first_line(error)}).") from error


def share_out(settings: ClusterSettings, nodes: Sequence[Mapping[str, float]], *, gpus: bool) -> Share:
    """How many actors, and what each gets.

    Args:
        settings: what was asked for.
        nodes: resources of each node as Ray names them: `CPU`, `GPU`.
        gpus: whether the network may run on GPUs; then each actor has one, where the cluster has any.

    Raises:
        UsageError: no node has what an actor needs.
    """
    found = sum(int(node.get("GPU", 0)) for node in nodes) if gpus else 0
    able = [node for node in nodes if node.get("CPU", 0) >= 1 and (not found or node.get("GPU", 0) >= 1)]
    if not able:
        raise UsageError("The cluster has no node with a CPU to work on.")
    cores = [int(node["CPU"]) // (int(node["GPU"]) if found else 1) for node in able]
    threads = settings.threads or max(1, min(_MOST_THREADS, *cores))
    fitting = [
        min(int(node["CPU"]) // threads, int(node.get("GPU", 0)) if found else int(node["CPU"])) for node in able
    ]
    if not any(fitting):
        raise UsageError(f"`threads` {threads}: no node of the cluster has as many CPUs.")
    return Share(sum(fitting) if settings.actors == "auto" else settings.actors, threads, 1 if found else 0)


@dataclass
class ClusterRun:
    """A batch on the cluster that this process is connected to.

    Attributes:
        settings: which machines.
        run: how the network is run; files that it names are sent along.
        treatment: how pictures are written.
        files: published weights by their names in the cache, sent along too.
    """

    settings: ClusterSettings
    run: RunSettings
    treatment: Treatment
    files: Mapping[str, Path] = field(default_factory=dict)

    def outcomes(self, jobs: Collection[Job]) -> Iterator[Done]:
        """What became of each job, as they are finished.

        Raises:
            MairError: the cluster could not go on; what had been told is done.
        """
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        share = share_out(self.settings, nodes, gpus=self.run.device not in ("cpu", "mps"))
        actors = min(share.actors, len(jobs))
        log.info("%d actors of %d threads and %d GPUs on %d nodes", actors, share.threads, share.gpus, len(nodes))
        load = Load.of(self.run.with_(threads=share.threads), self.treatment, self.files)
        try:
            waiting = iter(jobs)
            while wave := list(islice(waiting, _WAVE)):
                yield from self._wave(wave, load, Share(actors, share.threads, share.gpus))
        except (ray.exceptions.RayError, RuntimeError) as error:
            raise MairError(f"The cluster cannot go on: {_cause(error)}") from error

    @staticmethod
    def _wave(jobs: Sequence[Job], load: Load, share: Share) -> Iterator[Done]:
        import ray

        _quieten()
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=True
        )
        # Where its own node dies, another takes it over, and counts anew.
        lasting = {"max_restarts": -1, "max_task_retries": -1}
        coordinator = ray.remote(Coordinator).options(num_cpus=0, scheduling_strategy=here, **lasting).remote(load)
        rows = [{"index": index, "job": pickle.dumps(job)} for index, job in enumerate(jobs)]
        done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            RestoringActor,
            fn_constructor_args=(coordinator,),
            compute=ray.data.ActorPoolStrategy(size=share.actors, max_tasks_in_flight_per_actor=_IN_FLIGHT),
            num_cpus=share.threads,
            num_gpus=share.gpus,
        )
        try:
            for batch in done.iter_batches(batch_size=None, prefetch_batches=0):
                yield from map(pickle.loads, batch["done"])
        finally:
            with suppress(ray.exceptions.RayError):
                ray.kill(coordinator)
            gc.collect()  # Ray leaves 12 objects a picture in circles, which Python alone would look for late


def _quieten() -> None:
    """Leave progress and messages to whoever called."""
    import ray

    context: Any = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _cause(error: BaseException) -> str:
    """The innermost reason that Ray tells, in a line; advice on its own settings is left out."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "ray.data." not in line]
    told = [line for line in lines if line.startswith("mair_cli.errors.")]
    return told[-1].partition(": ")[2] if told else (lines[-1] if lines else type(error).__name__)
