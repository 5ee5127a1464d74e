"""What an interrupted benchmark has measured so far: one line per image and method, so that it can go on from there.

A run's folder is named after a hash of everything that its figures depend on: data set, task, settings, version, and
for a network its weights. A line also carries the digest of the image that it was measured on, so that no result
outlives a change of the image. The folder is deleted when its run is complete.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mair_cli.errors import MairError
from mair_cli.measure.protocol import Measurement

__all__ = ["Row", "RunState", "state_key"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """One image restored by one method.

    Attributes:
        image: the sample's name.
        method: the method's name.
        digest: of input and ground truth; "" where they could not be read.
        width: of the output, in pixels.
        height: of the output, in pixels.
        measurement: figures; None where it failed.
        seconds: time to restore it, reading and measuring not included.
        peak_memory: bytes; None where unknown.
        error: why it failed, or "".
        gray: whether the ground truth is gray.
    """

    image: str
    method: str
    digest: str
    width: int = 0
    height: int = 0
    measurement: Measurement | None = None
    seconds: float = 0.0
    peak_memory: int | None = None
    error: str = ""
    gray: bool = False

    @property
    def megapixels_per_second(self) -> float | None:
        """Megapixels of output per second; None where it failed or took no measurable time."""
        return self.width * self.height / 1e6 / self.seconds if self.measurement and self.seconds > 0 else None


def state_key(settings: Mapping[str, object]) -> str:
    """Name of the state folder for these settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:20]


class RunState:
    """Results of one method, kept in a folder until the run is complete."""

    def __init__(self, folder: Path, keep_outputs: bool) -> None:
        """Open, or start, the state in `folder`; with `keep_outputs` the restored images are kept as well."""
        self.folder = folder
        self.keep_outputs = keep_outputs
        self._rows = self._read()

    def _read(self) -> dict[tuple[str, str], Row]:
        path = self.folder / "rows.jsonl"
        rows = {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                row = _parse(line)
                if row is not None:
                    rows[row.image, row.digest] = row
        return rows

    @property
    def images(self) -> set[str]:
        """Names of the images measured so far."""
        return {name for name, _ in self._rows}

    def find(self, image: str, digest: str) -> Row | None:
        """The result for this very image, if there is one (with its output, where outputs are kept)."""
        row = self._rows.get((image, digest))
        if row is None or (self.keep_outputs and not self.output_path(image).is_file()):
            return None
        return row

    def add(self, row: Row, output: np.ndarray | None) -> None:
        """Keep a result. Failures are not kept: they are tried again.

        Raises:
            MairError: the folder cannot be written to.
        """
        if row.measurement is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.keep_outputs and output is not None:
                path = self.output_path(row.image)
                path.parent.mkdir(exist_ok=True)
                # The line below counts only once the image is complete: write it first, under another name.
                unfinished = path.with_suffix(f".{os.getpid()}.tmp")
                Image.fromarray(output).save(unfinished, format="PNG", compress_level=1)
                unfinished.replace(path)
            with (self.folder / "rows.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(row)) + "\n")
        except OSError as error:
            raise MairError(f"{self.folder}: the state of the benchmark cannot be kept ({error.strerror})") from error
        self._rows[row.image, row.digest] = row

    def output_path(self, image: str) -> Path:
        """Where the restored image is kept."""
        return self.folder / "outputs" / f"{image}.png"

    def output(self, image: str) -> np.ndarray:
        """The restored image, (H, W, 3) uint8."""
        with Image.open(self.output_path(image)) as picture:
            return np.asarray(picture)

    def clear(self) -> None:
        """Forget everything."""
        self._rows = {}
        if self.folder.is_dir():
            shutil.rmtree(self.folder, ignore_errors=True)


def _parse(line: str) -> Row | None:
    """A row from its line; None for one that was cut off when the run was killed."""
    try:
        fields = json.loads(line)
        fields["measurement"] = Measurement(**fields["measurement"])
        return Row(**fields)
    except (ValueError, TypeError, KeyError):
        log.debug("unreadable line in the state of a benchmark: %r", line[:80])
        return None
