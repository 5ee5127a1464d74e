"""Getting published weights onto this machine: fetched, checked, converted, and only then there.

What a source brings is a temporary file in the cache; it must have the known size and SHA-256, or sets them if it is
the first of its name; it is opened safely and must have exactly the network's parameters, all finite; it is written as
safetensors together with its settings and the original's hash, and that file is renamed to its final name. Renaming
makes any number of processes safe; the lock only spares them fetching the same file several times.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mair_cli.errors import CheckpointError, DownloadError, OfflineError, UsageError
from mair_cli.store.download import ProgressCallback
from mair_cli.store.files import check_space, file_sha256, temporary_file, told_as_disk_trouble, try_lock
from mair_cli.store.paths import cache_dir, offline_requested
from mair_cli.weights import hashes
from mair_cli.weights.cache import is_available, weights_dir, weights_file
from mair_cli.weights.catalog import DRIVE_FOLDER_URL, ModelEntry
from mair_cli.weights.hashes import SOURCE_HASH_KEY, FileHash
from mair_cli.weights.safetensors_file import check_digest, read_header
from mair_cli.weights.sources import Source, all_sources

__all__ = ["Fetched", "fetch", "remove", "verify"]

log = logging.getLogger(__name__)

_LONGEST_WAIT: Final = 600.0


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
    with told_as_disk_trouble(cache_dir()), _alone(entry):
        if is_available(entry) and source is None:  # another process was quicker
            return Fetched(target)
        if offline or offline_requested():
            sources = [place for place in sources if not place.online]
            if not sources:
                raise OfflineError(
                    f"{entry.name} is not here, and going online is forbidden (--offline or MAIR_OFFLINE).\n"
                    + _by_hand(entry)
                )
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
    with told_as_disk_trouble(weights_dir()):
        try:
            weights_file(entry).unlink()
        except FileNotFoundError:
            return False
    return True


def _by_hand(entry: ModelEntry) -> str:
    name = entry.file
    return f"By hand: fetch {name} from {DRIVE_FOLDER_URL}, then `mair download {entry.name} --from {name}`."


def _first_that_works(
    entry: ModelEntry, sources: Iterable[Source], accept_changed: bool, progress: ProgressCallback | None
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


def _take(entry: ModelEntry, source: Source, accept_changed: bool, progress: ProgressCallback | None) -> Fetched:
    """Bring, check, convert, rename."""
    target = weights_file(entry)
    with temporary_file(target.with_suffix(".original")) as part:
        name = source.bring(entry, part, progress)
        seen = FileHash(file_sha256(part), part.stat().st_size)
        first = hashes.known(entry) is None
        if not accept_changed:
            _compare(entry, seen)
        try:
            _convert(entry, part, name, seen, lambda: _settle(entry, seen, accept_changed))
        except CheckpointError as error:
            # Where the temporary file lay is of no interest to anybody.
            raise CheckpointError(str(error).replace(str(part), name)) from error
    return Fetched(target, source.name, seen, first)


def _settle(entry: ModelEntry, seen: FileHash, accept_changed: bool) -> None:
    """Make `seen` the hash that counts, or raise if it is another one by now."""
    if accept_changed:
        hashes.forget(entry)
    hashes.remember(entry, seen)
    _compare(entry, seen)


def _compare(entry: ModelEntry, seen: FileHash) -> None:
    must_be = hashes.known(entry)
    if must_be is not None and must_be != seen:
        raise DownloadError(
            f"this is not the file first seen as {entry.name}: SHA-256 {seen.sha256} ({seen.size} bytes) instead of "
            f"{must_be.sha256} ({must_be.size} bytes). If you trust it, add --accept-changed"
        )


def _convert(entry: ModelEntry, part: Path, name: str, seen: FileHash, before_renaming: Callable[[], None]) -> None:
    from mair_cli.weights.checkpoint import load_checkpoint, save_checkpoint

    checkpoint = load_checkpoint(part, entry.config)
    check_space(weights_dir(), seen.size)
    before_renaming()
    metadata = {
        "name": entry.name,
        "task": entry.task,
        "licence": entry.licence,
        "source_file": name,
        SOURCE_HASH_KEY: seen.sha256,
        "source_size": str(seen.size),
    }
    save_checkpoint(weights_file(entry), checkpoint.state_dict, checkpoint.config, metadata)


@contextlib.contextmanager
def _alone(entry: ModelEntry) -> Iterator[None]:
    """Wait while another process fetches the same entry. Where locks do not work, or for too long, go on without."""
    folder = cache_dir() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{entry.name}.lock").open("a") as file:
        deadline = time.monotonic() + _LONGEST_WAIT
        while not try_lock(file.fileno()) and time.monotonic() < deadline:
            if is_available(entry):
                break
            time.sleep(0.1)
        yield
