"""Long lists on disk, in order of a key: what a run over millions of files elsewhere remembers of each."""

from __future__ import annotations

import pickle
import sqlite3
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")


class _Listed(Collection[T], Generic[T]):
    """Holds what comes when it is gone through."""

    def __contains__(self, wanted: object) -> bool:
        return any(value == wanted for value in self)


class Spool(_Listed[T]):
    """Values that are read again and again in the order of their keys, equal ones in the order given.

    They lie in a file of SQLite, which goes with the object, and so does memory: it holds a few pages of the file.
    """

    def __init__(self, values: Iterable[T], key: Callable[[T], str]) -> None:
        """Write the values down, and what `key` gives for each."""
        self._folder = tempfile.TemporaryDirectory(prefix="mair-spool-", ignore_cleanup_errors=True)
        self._file = sqlite3.connect(Path(self._folder.name, "values"), isolation_level=None)
        self._file.execute("PRAGMA journal_mode = OFF")  # nobody reads it after a crash
        self._file.execute("PRAGMA synchronous = OFF")
        self._file.execute("CREATE TABLE spool (key BLOB, value BLOB)")
        self._file.execute("BEGIN")
        self._file.executemany(
            "INSERT INTO spool VALUES (?, ?)", ((_bytes(key(value)), pickle.dumps(value)) for value in values)
        )
        self._file.execute("CREATE INDEX by_key ON spool (key)")
        self._file.execute("COMMIT")
        (self._count,) = self._file.execute("SELECT count(*) FROM spool").fetchone()

    def __len__(self) -> int:
        return int(self._count)

    def __iter__(self) -> Iterator[T]:
        return (value for _, value in self._rows())

    def parts(self, size: int) -> Iterator[tuple[str, str, list[T]]]:
        """All of them in parts of `size` or more, each with its first and last key; equal keys are in one part."""
        part: list[T] = []
        first = last = b""
        for key, value in self._rows():
            if len(part) >= size and key != last:
                yield _text(first), _text(last), part
                part = []
            first = key if not part else first
            last = key
            part.append(value)
        if part:
            yield _text(first), _text(last), part

    def between(self, first: str, last: str) -> Iterator[T]:
        """Those with keys from `first` to `last`, both included."""
        rows = self._file.execute("SELECT value FROM spool WHERE key BETWEEN ? AND ?", (_bytes(first), _bytes(last)))
        return (pickle.loads(value) for (value,) in rows)

    def _rows(self) -> Iterator[tuple[bytes, T]]:
        rows = self._file.execute("SELECT key, value FROM spool ORDER BY key, rowid")
        return ((key, pickle.loads(value)) for key, value in rows)


class Filtered(_Listed[T]):
    """Those of a collection for which a test holds, looked for anew each time, so that they are not held twice."""

    def __init__(self, whole: Collection[T], test: Callable[[T], bool]) -> None:
        """Count them."""
        self._whole, self._test = whole, test
        self._count = sum(map(test, whole))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        return filter(self._test, self._whole)


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogatepass")
