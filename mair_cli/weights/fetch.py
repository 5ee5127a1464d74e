"""Getting published weights onto this machine: fetched, checked, converted, and only then there.

What a source brings is a temporary file in the cache; it must have the known size and SHA-256, or sets them if it is
the first of its name; it is opened safely and must have exactly the network's parameters, all finite; it is written as
safetensors together with its settings and the original's hash, and that file is renamed to its final name. Renaming
makes any number of processes safe; the lock only spares them fetching the same file several times.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mair_cli.errors import CheckpointError, DownloadError, UsageError
from mair_cli.store.atomic import temporary_file
from mair_cli.store.download import ProgressCallback
from mair_cli.store.files import CACHE_MOVES, check_space, disk_errors_as, file_sha256
from mair_cli.store.locks import exclusive
from mair_cli.store.paths import cache_dir, check_online, offline_requested
from mair_cli.weights import hashes
from mair_cli.weights.cache import is_available, weights_dir, weights_file
from mair_cli.weights.catalog import DRIVE_FOLDER_URL, ModelEntry
from mair_cli.weights.hashes import SOURCE_HASH_KEY, FileHash
from mair_cli.weights.safetensors_file import check_digest, read_header
from mair_cli.weights.sources import WeightSource, all_sources

if TYPE_CHECKING:
    from mair_cli.weights.checkpoint import Checkpoint

__all__ = ["Fetched", "fetch", "remove", "verify"]

log = logging.getLogger(__name__)

_LONGEST_WAIT: Final = 600.0
"""Seconds for another process that fetches the same weights; then they are fetched twice."""


@dataclass(frozen=True)
class Fetched:
    """Weights that are there now.

    Attributes:
        path: the file.
        source: where it came from; None if it was there already.
        original: hash and size of the published file; None if it was there already.
        first_seen: whether no hash of this file was known before.
    """

    path: Path
    source: str | None = None
    original: FileHash | None = None
    first_seen: bool = False


def fetch(
    entry: ModelEntry,
    *,
    source: str | None = None,
    offline: bool = False,
    accept_changed: bool = False,
    progress: ProgressCallback | None = None,
) -> Fetched:
    """Make sure that an entry's weights are on this machine.

    Args:
        entry: from the catalog.
        source: what `--from` names: looked at first, and taken even if the weights are there already.
        offline: use files and folders only, as `MAIR_OFFLINE=1` does.
        accept_changed: take a file whose hash is not the one first seen, and go by that from now on.
        progress: called with (bytes so far, bytes in all or None).

    Raises:
        UsageError: `source` or `MAIR_MIRROR` cannot be understood.
        OfflineError: there is no source that can be used without network.
        DownloadError: no source had the right file; says why, and how to fetch it by hand.
    """
    target = weights_file(entry)
    if entry.origin == "bundled":
        if not is_available(entry):
            raise UsageError(f"{entry.name} belongs to the package and is missing from it: reinstall mair-cli.")
        return Fetched(target)
    if is_available(entry) and source is None:
        return Fetched(target)
    sources = list(all_sources(source))
    lock = cache_dir() / "locks" / f"{entry.name}.lock"
    with disk_errors_as(DownloadError, f"Cannot write to {cache_dir()}", CACHE_MOVES), exclusive(lock, _LONGEST_WAIT):
        if is_available(entry) and source is None:  # another process was quicker
            return Fetched(target)
        if all(place.online for place in sources):
            check_online(f"{entry.name} is not here", offline=offline, way_out=f"\n{_by_hand(entry)}")
        elif offline or offline_requested():
            sources = [place for place in sources if not place.online]
        return _first_that_works(entry, sources, accept_changed, progress)


def verify(entry: ModelEntry) -> None:
    """Check weights that are there, completely: the file's own checksum, and what it was made from.

    Raises:
        CheckpointError: something is wrong with them.
    """
    path = hashes.checked_file(entry)
    check_digest(path, read_header(path))
    from mair_cli.weights.checkpoint import load_checkpoint

    load_checkpoint(path)


def remove(entry: ModelEntry) -> bool:
    """Delete fetched weights; the recorded hash stays. Returns whether there were any.

    Raises:
        UsageError: they are bundled.
        DownloadError: they cannot be deleted.
    """
    if entry.origin == "bundled":
        raise UsageError(f"{entry.name} ships with the package and is not removed.")
    with disk_errors_as(DownloadError, f"Cannot write to {weights_dir()}", CACHE_MOVES):
        try:
            weights_file(entry).unlink()
        except FileNotFoundError:
            return False
    return True


def _by_hand(entry: ModelEntry) -> str:
    name = entry.file
    return f"By hand: fetch {name} from {DRIVE_FOLDER_URL}, then `mair download {entry.name} --from {name}`."


def _first_that_works(
    entry: ModelEntry, sources: Iterable[WeightSource], accept_changed: bool, progress: ProgressCallback | None
) -> Fetched:
    failures = []
    for source in sources:
        log.info("looking for %s in %s", entry.name, source.name)
        try:
            return _take(entry, source, accept_changed, progress)
        except (DownloadError, CheckpointError) as error:
            failures.append(f"{source.name}: {str(error).rstrip('.')}")
            if source.exact:
                raise DownloadError(f"{entry.name} is not taken from {failures[-1]}.") from error
            log.info("%s", failures[-1])
    raise DownloadError(f"{entry.name} could not be fetched. {'; '.join(failures)}.\n{_by_hand(entry)}")


def _take(entry: ModelEntry, source: WeightSource, accept_changed: bool, progress: ProgressCallback | None) -> Fetched:
    """Bring, check, convert, rename."""
    with temporary_file(weights_dir()) as part:
        name = source.bring(entry, part, progress)
        seen = FileHash(file_sha256(part), part.stat().st_size)
        before = hashes.known(entry)
        if not accept_changed:
            _check_hash(entry, seen, before)
        checkpoint = _load(entry, part, name)
    check_space(weights_dir(), seen.size)
    if accept_changed:
        hashes.record(entry, seen)
    else:
        _check_hash(entry, seen, hashes.trust_on_first_use(entry, seen))
    _save(entry, checkpoint, name, seen)
    return Fetched(weights_file(entry), source.name, seen, before is None)


def _check_hash(entry: ModelEntry, seen: FileHash, must_be: FileHash | None) -> None:
    if must_be is not None and must_be != seen:
        raise DownloadError(
            f"this is not the file first seen as {entry.name}: SHA-256 {seen.sha256} ({seen.size} bytes) instead of "
            f"{must_be.sha256} ({must_be.size} bytes). If you trust it, add `accept_changed`"
        )


def _load(entry: ModelEntry, part: Path, name: str) -> Checkpoint:
    """The fetched file as a checkpoint that fits the entry; errors call it by its name at its source."""
    from mair_cli.weights.checkpoint import load_checkpoint

    try:
        return load_checkpoint(part, entry.config)
    except CheckpointError as error:
        raise CheckpointError(str(error).replace(str(part), name)) from error


def _save(entry: ModelEntry, checkpoint: Checkpoint, name: str, seen: FileHash) -> None:
    from mair_cli.weights.checkpoint import save_checkpoint

    metadata = {
        "name": entry.name,
        "task": entry.task,
        "licence": entry.licence,
        "source_file": name,
        SOURCE_HASH_KEY: seen.sha256,
        "source_size": str(seen.size),
    }
    save_checkpoint(weights_file(entry), checkpoint.state_dict, checkpoint.config, metadata)
