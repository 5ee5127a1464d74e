"""What a run tells about itself, for TensorBoard, beside the CSV logs; needs the extra `tensorboard`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from mair_cli.errors import UsageError
from mair_cli.training.reports import Observer, StepReport
from mair_cli.training.validation import ValidationScore

__all__ = ["Board", "check_package"]


def check_package() -> None:
    """Raise UsageError where the package is missing."""
    if importlib.util.find_spec("tensorboard") is None:
        raise UsageError("training.tensorboard needs the package: pip install 'mair-cli[tensorboard]'")


class Board(Observer):
    """Writes loss, learning rate, gradient norm and what is measured as scalars.

    Args:
        folder: where the event files go.
        step: what an earlier stretch wrote after this step no longer counts.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None, flush_secs=30)

    def logged(self, report: StepReport) -> None:
        """Write the row of the log."""
        for name in ("loss", "learning_rate", "gradient_norm", "seconds_per_step"):
            self._writer.add_scalar(f"training/{name}", getattr(report, name), report.step)

    def validated(self, step: int, measured: list[ValidationScore], best: bool) -> None:
        """Write what was measured; and have it on disk, for a run may end any time."""
        for item in measured:
            self._writer.add_scalar(f"psnr/{item.measure}", item.psnr, step)
            self._writer.add_scalar(f"ssim/{item.measure}", item.ssim, step)
        self._writer.flush()

    def close(self) -> None:
        """Nothing more will come."""
        self._writer.close()
