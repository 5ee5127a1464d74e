"""What `mair train` shows while it runs: a bar on a terminal, and a line now and then everywhere."""

from __future__ import annotations

import sys
import time

from mair_cli.cli import console
from mair_cli.training.recipe import Settings
from mair_cli.training.reports import Observer, StepReport
from mair_cli.training.validation import ValidationScore

# Beside a bar, a line about the loss this often is enough; without a terminal lines are all there is.
SECONDS_BETWEEN_LINES = 60.0
SECONDS_BETWEEN_LINES_OF_FILES = 10.0


class ConsoleObserver(Observer):
    """Tells on stderr how a run goes on.

    Args:
        settings: the run.
        bar: progress bar over its steps.
    """

    def __init__(self, settings: Settings, bar: console.Progress) -> None:
        self._settings = settings
        self._bar = bar
        self._told = 0.0

    def started(self, step: int, parameters: int, images: int) -> None:
        """Say what is being trained."""
        self._bar.reach(step, self._settings.training.steps)
        where = f"from step {step}" if step else "from scratch"
        if not step and self._settings.training.start_from:
            where = f"from {self._settings.training.start_from}"
        console.note(f"{self._settings.name}: {parameters:,} parameters, {images} images, {where}")

    def stepped(self, step: int) -> None:
        """Move the bar."""
        self._bar.reach(step, self._settings.training.steps)

    def logged(self, report: StepReport) -> None:
        """Update the bar's text; write a line once a minute, or more often where there is no bar."""
        self._bar.describe(f"{self._settings.name} loss {report.loss:.4f}")
        pause = SECONDS_BETWEEN_LINES if sys.stderr.isatty() else SECONDS_BETWEEN_LINES_OF_FILES
        if time.monotonic() - self._told >= pause:
            self._told = time.monotonic()
            console.note(
                f"step {report.step}: loss {report.loss:.5f}, learning rate {report.learning_rate:.2e}, "
                f"{report.seconds_per_step:.2f} s per step ({report.seconds_waiting:.3f} of them waiting for images)"
            )

    def validated(self, step: int, measured: list[ValidationScore], best: bool) -> None:
        """Write a line with what was measured."""
        scores = ", ".join(f"{item.measure} {item.psnr:.3f} dB / {item.ssim:.4f}" for item in measured)
        console.note(f"step {step}: {scores}{' (best so far)' if best else ''}")
