"""What became of each picture of a run, a JSON line each, in a file that later runs go on with."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import IO, Final

from mair_cli.errors import ImageError, UsageError
from mair_cli.images.io import probe
from mair_cli.jobs.plan import Job
from mair_cli.restore.signature import task_signed
from mair_cli.store.remote import Address, Place, check_writable, kind_of

_PUT_EVERY: Final = 30.0  # seconds
_PUT_SHARE: Final = 20  # at most one part in so many of the time goes into that

NAME: Final = "mair_manifest.jsonl"


def default_manifest(output: Place | None, jobs: Collection[Job]) -> Place:
    """The manifest beside an output folder, or in the folder of results that have none of their own."""
    if output is not None and output.name and not output.suffix:
        return output.with_name(f"{output.name}_{NAME}")
    if isinstance(output, Address) and not output.name:
        return output / NAME  # a bucket has nothing beside it
    job = next(iter(jobs))
    first = job.destination
    if first is None:
        raise UsageError("`manifest`: results on standard output have none.")
    depth = 0 if job.source.folder is None else len(job.source.within.parents) - 1
    folder = first.parent
    for _ in range(depth):
        folder = folder.parent
    return folder / NAME if job.source.folder is None or not folder.name else _beside(folder)


def _beside(folder: Place) -> Place:
    return folder.with_name(f"{folder.name}_{NAME}")


def open_manifest(place: Place) -> Manifest:
    """The manifest at a place, with what earlier runs wrote. Raises UsageError where that is not possible."""
    return _ManifestElsewhere(place) if isinstance(place, Address) else Manifest(place)


class Manifest:
    """Appends lines; to be closed, best as a context. A line that a killed process left unfinished stays alone."""

    def __init__(self, place: Place) -> None:
        """See `open_manifest`."""
        try:
            self._goes_on = kind_of(place) is not None
            self._path = self._local(place)
            self._file = self._path.open("a+b")
            if self._file.seek(0, os.SEEK_END):
                self._file.seek(-1, os.SEEK_END)
                if self._file.read(1) != b"\n":
                    self._file.write(b"\n")
        except OSError as error:
            raise UsageError(f"`manifest` {place}: {error.strerror or error}.") from error

    def _local(self, place: Place) -> Path:
        """The file that is appended to."""
        assert isinstance(place, Path)
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def untold(self, skipped: Iterable[Job], task: str) -> Iterator[dict[str, object]]:
        """Lines to add for results that an earlier run with this manifest wrote and did not come to tell.

        Whoever stops a run stops it between some picture and its line. Results of which no line tells, and that say of
        themselves that they are results of this task, can be of such a run only.

        Args:
            skipped: jobs whose results exist.
            task: a name in `mair_cli.tasks.TASKS`.
        """
        if not self._goes_on:
            return
        told = array("Q", sorted(_told(self._file)))  # 8 bytes a line: manifests are long
        for job in skipped:
            place = str(job.destination)
            number = _number(place)
            at = bisect_left(told, number)
            if job.destination is None or (at < len(told) and told[at] == number):
                continue
            try:
                found = probe(job.destination)
            except ImageError:
                continue
            if task_signed(found.software) == task:
                size = {"output_width": found.width, "output_height": found.height}
                yield {"input": str(job.source.path), "output": place, "status": "done", **size, "found": True}

    def add(self, values: Mapping[str, object]) -> None:
        """Append a line. Raises OSError."""
        self._file.seek(0, os.SEEK_END)
        self._file.write(json.dumps(values).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Put what is missing, and close. Raises OSError."""
        self._file.close()

    def __enter__(self) -> Manifest:
        """Itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self.close()


class _ManifestElsewhere(Manifest):
    """Appends to a copy here, and puts the whole now and then: object stores cannot append."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._put_at, self._put_took = time.monotonic(), 0.0
        super().__init__(address)

    def _local(self, place: Place) -> Path:
        check_writable(self._address.parent)
        copy = Path(tempfile.mkdtemp(prefix="mair-manifest-"), NAME)
        if self._goes_on:
            self._address.fetch(copy)
        else:
            self._address.write(b"")  # so that the next run knows that this one began
        return copy

    def add(self, values: Mapping[str, object]) -> None:
        """Append a line. Raises OSError."""
        super().add(values)
        if time.monotonic() - self._put_at > max(_PUT_EVERY, _PUT_SHARE * self._put_took):
            self._put()

    def close(self) -> None:
        """Put what is missing, and close. Raises OSError."""
        try:
            self._put()
        finally:
            super().close()
            shutil.rmtree(self._path.parent, ignore_errors=True)

    def _put(self) -> None:
        started = time.monotonic()
        self._file.flush()
        self._address.write_file(self._path)
        self._put_at = time.monotonic()
        self._put_took = self._put_at - started


def _told(file: IO[bytes]) -> Iterator[int]:
    """The numbers of results that lines of a manifest tell of."""
    file.seek(0)
    for line in file:
        try:
            told = json.loads(line)
            if told["status"] == "done":
                yield _number(told["output"])
        except (ValueError, LookupError, TypeError, AttributeError):  # left unfinished, or somebody else's
            continue


def _number(place: str) -> int:
    return int.from_bytes(blake2b(place.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little")
