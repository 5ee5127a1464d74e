"""The CSV logs of a run. A resumed run cuts off the rows it is about to write again."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from mair_cli.errors import TrainingError
from mair_cli.store.files import disk_errors_as
from mair_cli.training.state import write_atomically

STEP_COLUMNS = ("step", "seconds", "loss", "learning_rate", "gradient_norm", "seconds_per_step", "seconds_waiting")
VALIDATION_COLUMNS = ("step", "seconds", "measure", "psnr", "ssim")
IMAGES_COLUMNS = ("step", "measure", "image", "psnr", "ssim")


class Logbook:
    """A CSV file whose first column is the step; every row is on disk when `write` returns.

    Args:
        path: the file.
        columns: the header.
        keep: rows up to this step are kept from an earlier stretch; 0 starts an empty file.
    """

    def __init__(self, path: Path, columns: Sequence[str], keep: int = 0) -> None:
        self.path = path
        self._columns = list(columns)
        rows = [row for row in read_rows(path) if int(row["step"]) <= keep] if keep else []
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(path, text.getvalue().encode())

    def write(self, *values: object) -> None:
        """Append one row, in the order of the columns; raises TrainingError when the file cannot be written."""
        with (
            disk_errors_as(TrainingError, f"cannot write {self.path}", ""),
            self.path.open("a", newline="", encoding="utf-8") as stream,
        ):
            csv.writer(stream).writerow([_text(value) for value in values])


def _text(value: object) -> str:
    return f"{value:.9g}" if isinstance(value, float) else str(value)  # nine digits tell any two float32 apart


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a log, without a last one that was cut short; empty when there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return [row for row in csv.DictReader(stream) if all(value is not None for value in row.values())]
