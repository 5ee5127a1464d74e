"""Which file is the published one: its SHA-256 as first seen. Free of torch.

The authors publish no checksums. So the first file of a name that proves to be a fitting checkpoint sets the hash, and
from then on only that file counts. The record is a help, not a need: one that cannot be read is made anew, and where
none can be written, work goes on without.
"""

from __future__ import annotations

import json
import logging
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from mair_cli.errors import CheckpointError
from mair_cli.store.atomic import atomic_write
from mair_cli.weights.cache import weights_dir, weights_file
from mair_cli.weights.catalog import ModelEntry
from mair_cli.weights.safetensors_file import read_metadata

__all__ = ["FileHash", "checked_file", "known", "record", "trust_on_first_use"]

log = logging.getLogger(__name__)

SOURCE_HASH_KEY = "source_sha256"
"""Metadata of converted weights: the hash of the published file that they were made from."""

_LONGEST_RECORD: Final = 4096
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FileHash:
    """SHA-256 (64 hexadecimal digits) and size in bytes of a published file."""

    sha256: str
    size: int


def known(entry: ModelEntry) -> FileHash | None:
    """The hash that the entry's file must have; None before the first such file is seen, or without a sound record."""
    path = _record_file(entry)
    try:
        with path.open("rb") as file:
            values = json.loads(file.read(_LONGEST_RECORD))
        found = FileHash(values["sha256"], values["size"])
        if not _SHA256.fullmatch(found.sha256) or not isinstance(found.size, int):
            raise ValueError("no hash")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        _warn_once(f"{path} is unreadable ({type(error).__name__}): the next file fetched sets the hash anew")
        return None
    return found


def trust_on_first_use(entry: ModelEntry, seen: FileHash) -> FileHash:
    """The hash that counts from now on: the known one, or else that of `seen`, a file that proved fitting.

    Of any number of processes that do this at once, the first one wins, without a lock.
    """
    before = known(entry)
    if before is None:
        with suppress(FileExistsError):  # since `before` was asked another process may have been first
            record(entry, seen, replace=False)
            return seen
        before = known(entry)
    if before is None:  # what stands there is unreadable
        record(entry, seen)
    return before or seen


def record(entry: ModelEntry, seen: FileHash, *, replace: bool = True) -> None:
    """Let the hash of `seen` count from now on; a warning where it cannot be written down.

    Raises:
        FileExistsError: there is a record, which shall not be replaced.
    """
    path = _record_file(entry)
    try:
        with atomic_write(path, replace=replace) as file:
            file.write(json.dumps(asdict(seen)).encode())
    except FileExistsError:
        raise
    except OSError as error:
        _warn_once(f"{path} cannot be written ({error.strerror}): a later file cannot be compared with this one")


def checked_file(entry: ModelEntry) -> Path:
    """The entry's weights file, after a quick look (header only) whether it still is what was fetched.

    Raises:
        CheckpointError: it is damaged, or was made from another published file than the one first seen.
    """
    path = weights_file(entry)
    if entry.origin == "published":
        must_be, made_from = known(entry), read_metadata(path).get(SOURCE_HASH_KEY, "none")
        if must_be is not None and must_be.sha256 != made_from:
            raise CheckpointError(
                f"{path} was made from another file than the one first seen as {entry.name}: SHA-256 {made_from} "
                f"instead of {must_be.sha256}. `mair download {entry.name} --remove` and fetch it again."
            )
    return path


def _record_file(entry: ModelEntry) -> Path:
    return weights_dir() / "hashes" / f"{entry.name}.json"


@lru_cache(maxsize=1024)
def _warn_once(message: str) -> None:
    log.warning("%s", message)
