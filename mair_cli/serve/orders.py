"""Pictures that wait, are being restored, or are done: one after the other, with one network in memory at a time."""

from __future__ import annotations

import logging
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Final, Literal

from mair_cli.errors import MairError, UsageError
from mair_cli.images.io import ImageInfo, extension_for, probe
from mair_cli.jobs.batch import Outcome, Streams, Treatment, restore_job
from mair_cli.jobs.naming import Source
from mair_cli.jobs.plan import Job
from mair_cli.restore.any_size import SizedRestorer, load_restorer
from mair_cli.restore.restorer import Restorer
from mair_cli.restore.settings import RunSettings
from mair_cli.serve.form import RestoreForm
from mair_cli.store.trace import log_traceback

logger = logging.getLogger(__name__)

State = Literal["waiting", "working", "done", "failed", "withdrawn"]

_PATIENCE: Final = 20.0  # seconds that closing waits for the tile in hand


class BusyError(MairError):
    """As much waits, or is kept, as the server takes."""


class _Withdrawn(BaseException):
    """Ends the restoring of a picture that nobody wants any more; no error, so that nothing on the way catches it."""


@dataclass(eq=False)
class Order:
    """One picture with what is to be done with it, and what became of it.

    Attributes:
        name: the picture's file name, as its owner calls it.
        asked: how it is to be restored.
        folder: holds the picture and its result; goes with the order.
        info: what the picture's header says.
        id: what to ask for it by; not to be guessed.
        state: "withdrawn" orders are known to nobody any more.
        done: finished tiles.
        total: tiles in all; 0 as long as that is unknown.
        result: what the header of the result says; None until it is there.
        outcome: sizes, seconds, and what the network was told.
        error: why it failed.
        wrongly_asked: whether it failed for what was asked, not for the picture.
        finished: resolved when the order is done or failed; cancelled when it was withdrawn.
    """

    name: str
    asked: RestoreForm
    folder: Path
    info: ImageInfo
    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    state: State = "waiting"
    done: int = 0
    total: int = 0
    result: ImageInfo | None = None
    outcome: Outcome | None = None
    error: str | None = None
    wrongly_asked: bool = False
    finished: Future[None] = field(default_factory=Future)

    @property
    def picture(self) -> Path:
        """The file that was sent."""
        return self.folder / "picture"

    @property
    def restored(self) -> Path:
        """The file of the result."""
        return self.folder / "restored"

    @property
    def result_name(self) -> str:
        """What to call the result; only once it is there."""
        assert self.result is not None
        return f"{Path(self.name).stem}{self.asked.suffix}{extension_for(self.result.format)}"

    @property
    def bytes_kept(self) -> int:
        """Of both files."""
        return sum(path.stat().st_size for path in (self.picture, self.restored) if path.exists())


class OrderBook:
    """All orders, and the thread that carries them out.

    Nothing outlives it: files lie in a folder of its own, which `close` removes.
    """

    def __init__(self, *, most_waiting: int, most_bytes: int, max_pixels: int | None) -> None:
        """Start the thread.

        Args:
            most_waiting: orders beyond these are refused.
            most_bytes: of pictures and results together; refused beyond.
            max_pixels: larger results are refused; None for the reader's bound.
        """
        self.most_waiting, self.most_bytes, self.max_pixels = most_waiting, most_bytes, max_pixels
        self.root = Path(tempfile.mkdtemp(prefix="mair-serve-"))
        self._orders: dict[str, Order] = {}
        self._change = threading.Condition()
        self._closing = False
        self._restorer: Restorer | SizedRestorer | None = None
        self._thread = threading.Thread(target=self._work, name="mair-serve", daemon=True)
        self._thread.start()

    def new_folder(self) -> Path:
        """A folder for a picture that is arriving. Raises BusyError where there is no more room."""
        with self._change:
            waiting = sum(order.state == "waiting" for order in self._orders.values())
            kept = sum(order.bytes_kept for order in self._orders.values())
        if waiting >= self.most_waiting:
            raise BusyError(f"{waiting} pictures are waiting already: try again later.")
        if kept >= self.most_bytes:
            raise BusyError(f"Results of {kept / 1e9:.1f} GB are kept here: save some and remove them.")
        return Path(tempfile.mkdtemp(dir=self.root))

    def add(self, name: str, asked: RestoreForm, folder: Path) -> Order:
        """Queue the file `picture` of a folder from `new_folder`. Raises ImageError where it is no picture.

        The folder is the book's from here on.
        """
        try:
            with (folder / "picture").open("rb") as stream:
                info = probe(stream, name, self.max_pixels, asked.settings.named_scale)
        except MairError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        order = Order(name, asked, folder, info)
        with self._change:
            self._orders[order.id] = order
            self._change.notify()
        return order

    def find(self, id_: str) -> Order | None:
        """The order, unless it is unknown."""
        return self._orders.get(id_)

    def ahead(self, order: Order) -> int:
        """How many are carried out before it."""
        with self._change:
            before = list(self._orders.values())
        before = before[: before.index(order)] if order in before else []
        return sum(other.state in ("waiting", "working") for other in before)

    def withdraw(self, order: Order) -> None:
        """Forget an order with its files; one being carried out ends after the tile in hand."""
        with self._change:
            self._orders.pop(order.id, None)
            working, order.state = order.state == "working", "withdrawn"
        order.finished.cancel()
        if not working:
            shutil.rmtree(order.folder, ignore_errors=True)

    def close(self) -> None:
        """Withdraw everything, end the thread, remove the files."""
        for order in list(self._orders.values()):
            self.withdraw(order)
        with self._change:
            self._closing = True
            self._change.notify()
        self._thread.join(_PATIENCE)
        shutil.rmtree(self.root, ignore_errors=True)

    def _work(self) -> None:
        while (order := self._next()) is not None:
            try:
                self._carry_out(order)
            except _Withdrawn:
                shutil.rmtree(order.folder, ignore_errors=True)
                continue
            except MairError as error:
                order.error, order.wrongly_asked = str(error), isinstance(error, UsageError)
                log_traceback(error)
            except Exception as error:  # noqa: BLE001 - the thread must live on for the next picture
                order.error = f"unexpected {type(error).__name__}: {error}"
                log_traceback(error)
            self._finish(order)

    def _next(self) -> Order | None:
        """The next order, once there is one; None when it is time to end."""
        with self._change:
            while not self._closing:
                for order in self._orders.values():
                    if order.state == "waiting":
                        order.state = "working"
                        return order
                self._change.wait()
        return None

    def _finish(self, order: Order) -> None:
        with self._change:
            withdrawn = order.state == "withdrawn"
            if not withdrawn:
                order.state = "failed" if order.error is not None else "done"
        if withdrawn:
            shutil.rmtree(order.folder, ignore_errors=True)
        elif order.finished.set_running_or_notify_cancel():
            order.finished.set_result(None)

    def _carry_out(self, order: Order) -> None:
        asked, watched = order.asked, _watched(order)
        watched(0, 0)
        restorer = self._load(asked.settings)
        job = Job(Source(order.picture), order.restored, asked.format)
        treatment = Treatment(asked.settings.asked_task.name, asked.alpha, asked.quality, self.max_pixels)
        order.outcome = restore_job(job, restorer, treatment, Streams(BytesIO(), _nowhere), watched)
        if order.outcome.error is not None:
            order.error = order.outcome.error.replace(str(order.picture), order.name)
            return
        order.result = probe(order.restored, order.name)
        logger.info("%s: done in %.1f s", order.name, order.outcome.seconds)

    def _load(self, settings: RunSettings) -> Restorer | SizedRestorer:
        if self._restorer is None or self._restorer.settings != settings:
            self._restorer = None  # its memory first
            self._restorer = load_restorer(settings)
            logger.info("%s", self._restorer.description)
        return self._restorer


def _watched(order: Order) -> Callable[[int, int], None]:
    def advance(done: int, total: int) -> None:
        if order.state == "withdrawn":
            raise _Withdrawn
        order.done, order.total = done, total

    return advance


def _nowhere(data: bytes) -> None:
    raise AssertionError("results go to files here")
