"""What an interrupted benchmark has measured so far: one line per image and method, so that it can go on from there.

A run's folder is named after a hash of everything that its figures depend on: data set, task, settings, version, and
for a network its weights. A line also carries the digest of the image that it was measured on, so that no result
outlives a change of the image. The folder is deleted when its run is complete.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mair_cli.errors import MairError
from mair_cli.measure.protocol import Measurement
from mair_cli.store.atomic import atomic_write
from mair_cli.store.locks import exclusive

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
    """Results of one method, kept in a folder until the run is complete.

    The folder is this run's alone as long as it lives. A run that cannot have it, because an equal one has it or the
    disk refuses, measures all the same and keeps nothing for the next.

    Attributes:
        folder: where results are kept.
        resumable: whether they are.
    """

    def __init__(self, folder: Path, keep_outputs: bool) -> None:
        """Open, or start, the state in `folder`; with `keep_outputs` the restored images are kept as well."""
        self.folder = folder
        self.keep_outputs = keep_outputs
        self.resumable = True
        self._rows: dict[tuple[str, str], Row] = {}
        self._held = ExitStack()
        try:
            if self._held.enter_context(exclusive(_lock_file(folder))):
                self._rows = self._read()
            else:
                self._give_up("an equal one is running")
        except OSError as error:
            self._give_up(error.strerror or str(error))

    def _give_up(self, reason: str) -> None:
        """Go on without being resumable; outputs that reports need go to a folder that ends with this process."""
        if not self.resumable:
            return
        self.resumable = False
        log.warning("This benchmark cannot be resumed: %s (%s).", reason, self.folder)
        self._held.close()
        if self.keep_outputs:
            temporary = tempfile.TemporaryDirectory(prefix="mair-benchmark-")
            self.folder = Path(self._held.enter_context(temporary))
            self._rows = {}

    def _read(self) -> dict[tuple[str, str], Row]:
        path = self.folder / "rows.jsonl"
        if not path.is_file():
            return {}
        # Bytes that are no text are in lines that no longer add up, which are measured again.
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return {(row.image, row.digest): row for row in map(_parse, lines) if row is not None}

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
        """Keep a result, as far as the disk lets it. Failures are not kept: they are tried again.

        Raises:
            MairError: an output that a report needs cannot be kept anywhere.
        """
        if row.measurement is None:
            return
        self._rows[row.image, row.digest] = row
        try:
            self._write(row, output)
        except OSError as error:
            self._give_up(error.strerror or str(error))
            self._keep_output(row, output)

    def _write(self, row: Row, output: np.ndarray | None) -> None:
        # The line counts only once the image is complete: write that first.
        if self.keep_outputs and output is not None:
            with atomic_write(self.output_path(row.image)) as file:
                Image.fromarray(output).save(file, format="PNG", compress_level=1)
        if self.resumable:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / "rows.jsonl").open("a", encoding="utf-8") as file:
                file.write(_line(row))

    def _keep_output(self, row: Row, output: np.ndarray | None) -> None:
        try:
            self._write(row, output)
        except OSError as error:
            raise MairError(
                f"{self.folder}: restored images cannot be kept for the report ({error.strerror})"
            ) from error

    def output_path(self, image: str) -> Path:
        """Where the restored image is kept."""
        return self.folder / "outputs" / f"{image}.png"

    def output(self, image: str) -> np.ndarray:
        """The restored image, (H, W, 3) uint8."""
        with Image.open(self.output_path(image)) as picture:
            return np.asarray(picture)

    def clear(self) -> None:
        """Forget everything that this run keeps; what an equal run keeps stays."""
        self._rows = {}
        if self.resumable and self.folder.is_dir():
            shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Give the folder free."""
        if self.resumable and not self.folder.exists():
            with suppress(OSError):
                _lock_file(self.folder).unlink(missing_ok=True)
        self._held.close()


def _lock_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _line(row: Row) -> str:
    """A row as a line of the file, with a digest of what it says."""
    said = json.dumps(asdict(row), sort_keys=True)
    return json.dumps({"row": asdict(row), "sha256": hashlib.sha256(said.encode()).hexdigest()}) + "\n"


def _parse(line: str) -> Row | None:
    """A row from its line; None for one that was cut off when the run was killed, or changed since."""
    try:
        content = json.loads(line)
        fields, digest = content["row"], content["sha256"]
        if hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest() != digest:
            raise ValueError("changed since it was written")
        return Row(**{**fields, "measurement": Measurement(**fields["measurement"])})
    except (ValueError, TypeError, KeyError):
        log.debug("unreadable line in the state of a benchmark: %r", line[:80])
        return None
