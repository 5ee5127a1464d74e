"""Which file is the published one: its SHA-256, shipped with the package or as first seen. Free of torch.

The authors publish no checksums. So the first file of a name that proves to be a fitting checkpoint sets the hash, and
from then on only that file counts. `SHIPPED` may list hashes that are known beforehand.
"""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from mair_cli.errors import CheckpointError
from mair_cli.store.files import temporary_file
from mair_cli.weights.cache import weights_dir, weights_file
from mair_cli.weights.catalog import ModelEntry
from mair_cli.weights.safetensors_file import read_metadata

__all__ = ["FileHash", "checked_file", "forget", "known", "remember"]

log = logging.getLogger(__name__)

SOURCE_HASH_KEY = "source_sha256"
"""Metadata of converted weights: the hash of the published file that they were made from."""


@dataclass(frozen=True)
class FileHash:
    """SHA-256 (64 hexadecimal digits) and size in bytes of a published file."""

    sha256: str
    size: int


SHIPPED: Final[dict[str, FileHash]] = {}
"""By the model's name. Empty: nobody has published any, and a guess would be worse than the first file seen."""


def known(entry: ModelEntry) -> FileHash | None:
    """The hash that the entry's file must have; None before the first such file is seen."""
    return SHIPPED.get(entry.name) or _recorded(entry)


def remember(entry: ModelEntry, seen: FileHash) -> FileHash:
    """Record the hash of a file that proved fitting, unless one is known; returns the one that counts from now on.

    Of any number of processes that do this at once, the first one wins, without a lock.

    Raises:
        OSError: the cache folder cannot be written to.
    """
    before = known(entry)
    if before is not None:
        return before
    record = _record_file(entry)
    with temporary_file(record) as part:
        part.write_text(json.dumps(asdict(seen)), "utf-8")
        try:
            os.link(part, record)
        except FileExistsError:  # since `before` was asked another process may have been first; or it is unreadable
            if known(entry) is None:
                part.replace(record)
        except OSError:  # a file system without links
            part.replace(record)
    return known(entry) or seen


def forget(entry: ModelEntry) -> None:
    """Drop the recorded hash, so that the next file of that name counts as first seen."""
    with suppress(FileNotFoundError):
        _record_file(entry).unlink()


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


def _recorded(entry: ModelEntry) -> FileHash | None:
    record = _record_file(entry)
    try:
        values = json.loads(record.read_text("utf-8"))
        return FileHash(str(values["sha256"]), int(values["size"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("%s is unreadable (%s): the next file fetched sets the hash anew", record, error)
        return None
