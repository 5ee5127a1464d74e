"""What a run tells about itself while it goes on and when it ends."""

from __future__ import annotations

from dataclasses import dataclass

from mair_cli.training.validation import ValidationScore


@dataclass(frozen=True)
class StepReport:
    """What the log says every `log_every` steps; loss and times are means over them."""

    step: int
    seconds: float
    loss: float
    learning_rate: float
    gradient_norm: float
    seconds_per_step: float
    seconds_waiting: float


@dataclass(frozen=True)
class RunEnd:
    """How a run ended.

    Attributes:
        step: steps done, over all stretches.
        finished: whether that is all of them.
        signal: number of the signal that ended it, or None.
        best: highest validation PSNR, dB, or None.
        best_step: where it was measured.
    """

    step: int
    finished: bool
    signal: int | None
    best: float | None
    best_step: int


@dataclass(frozen=True)
class Rehearsal:
    """What a run would begin with.

    Attributes:
        step: steps done already.
        parameters: of the network.
        training: number of images to train on.
        validation: number of images to measure on.
    """

    step: int
    parameters: int
    training: int
    validation: int


class Observer:
    """Is told how a run goes on; this one keeps silent. Only the first of several processes tells."""

    def started(self, step: int, parameters: int, images: int) -> None:
        """Training begins at `step`, with a network of so many parameters and so many images."""

    def stepped(self, step: int) -> None:
        """A step is done; `step` are done in all."""

    def logged(self, report: StepReport) -> None:
        """A row went to the log."""

    def validated(self, step: int, measured: list[ValidationScore], best: bool) -> None:
        """The average was measured after `step` steps; `best` says that it was never better."""


class Observers(Observer):
    """Tells several."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def started(self, step: int, parameters: int, images: int) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.started(step, parameters, images)

    def stepped(self, step: int) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.stepped(step)

    def logged(self, report: StepReport) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.logged(report)

    def validated(self, step: int, measured: list[ValidationScore], best: bool) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.validated(step, measured, best)
