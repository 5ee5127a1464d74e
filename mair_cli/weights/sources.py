"""Places that published weights may come from: file, folder, web address, Hugging Face repository, Google Drive.

A source brings one file to a given place. Whether it is the right one is not its business: see `fetch`.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, quote, urlsplit

from mair_cli.errors import DownloadError, UsageError
from mair_cli.store.addresses import masked
from mair_cli.store.atomic import atomic_write
from mair_cli.store.download import NotThereError, ProgressCallback, fetch_file
from mair_cli.store.files import check_space, disk_errors_as
from mair_cli.store.paths import expanded
from mair_cli.weights.catalog import ModelEntry
from mair_cli.weights.drive import fetch_from_drive

__all__ = ["WeightSource", "all_sources", "parse_source"]

SUFFIXES = (".pth", ".ckpt", ".pt", ".safetensors")

Bring = Callable[[ModelEntry, Path, "ProgressCallback | None"], str]


@dataclass(frozen=True)
class WeightSource:
    """One place.

    Attributes:
        name: as messages call it, secrets in addresses masked.
        bring: copies the entry's file to the path; returns the name it had; raises DownloadError.
        online: whether it needs the network.
        exact: whether it names one file, which the user therefore wants and no other.
    """

    name: str
    bring: Bring
    online: bool = True
    exact: bool = False


def all_sources(named: str | None) -> Iterator[WeightSource]:
    """Where to look, in order: what `--from` names, the places in `MAIR_MIRROR`, the authors' Google Drive.

    Raises:
        UsageError: `--from` or `MAIR_MIRROR` names nothing that can be used.
    """
    if named is not None:
        source = parse_source(named, "`from`")
        yield source
        if source.exact:
            return
    for mirror in os.environ.get("MAIR_MIRROR", "").split():
        yield parse_source(mirror, "MAIR_MIRROR")
    yield WeightSource("the authors' Google Drive", fetch_from_drive)


def parse_source(text: str, flag: str) -> WeightSource:
    """Understand a file, a folder, an http(s) address or a Hugging Face repository's name (`owner/name[@revision]`).

    Raises:
        UsageError: it is none of these; names `flag`.
    """
    path = expanded(text)
    if text and os.path.isdir(path):  # noqa: PTH112  (Path's own raises for names too long, such as signed addresses)
        return WeightSource(
            str(path), lambda entry, target, progress: _from_folder(path, entry, target, progress), False
        )
    if os.path.isfile(path):  # noqa: PTH113
        return WeightSource(str(path), lambda _, *to: _copy(path, *to), online=False, exact=True)
    if text.lower().startswith(("http://", "https://")):
        exact = _address(text, flag).path.lower().endswith(SUFFIXES)
        return WeightSource(masked(text), _at(text) if exact else _below(text), exact=exact)
    repository = re.fullmatch(r"(?:hf://)?([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?", text)
    if repository and not text.startswith((".", "/", "~")) and not text.lower().endswith(SUFFIXES):
        hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        _address(hub, "HF_ENDPOINT")
        base = f"{hub}/{repository[1]}"
        return WeightSource(masked(base), _below(f"{base}/resolve/{repository[2] or 'main'}"))
    raise UsageError(
        f"{flag} {masked(text)}: no such file or folder, and neither a web address nor a Hugging Face repository "
        "(owner/name)."
    )


def _address(text: str, flag: str) -> SplitResult:
    """The parts of an http(s) address; raises UsageError, which names `flag`, for one without a host."""
    try:
        parts = urlsplit(text)
        complete = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # brackets that do not close, a port that is no number
        complete = False
    if not complete or parts.scheme not in ("http", "https"):
        raise UsageError(f"{flag} {masked(text)}: not a web address that can be fetched.")
    return parts


def _names(entry: ModelEntry) -> tuple[str, ...]:
    return (*entry.files, f"{entry.name}.safetensors")


def _from_folder(folder: Path, entry: ModelEntry, target: Path, progress: ProgressCallback | None) -> str:
    for name in _names(entry):
        if (folder / name).is_file():
            return _copy(folder / name, target, progress)
    raise NotThereError(f"no {' or '.join(entry.files)} in it")


def _copy(path: Path, target: Path, progress: ProgressCallback | None) -> str:
    with disk_errors_as(DownloadError, f"{path} cannot be read"):
        source = path.open("rb")
        size = path.stat().st_size
    check_space(target.parent, size)
    with source, atomic_write(target) as file:
        shutil.copyfileobj(source, file, 1 << 20)
    if progress is not None:
        progress(size, size)
    return path.name


def _at(url: str) -> Bring:
    """A web address that is the file's own."""

    def bring(_entry: ModelEntry, target: Path, progress: ProgressCallback | None) -> str:
        fetch_file(url, target, progress=progress)
        return urlsplit(url).path.rpartition("/")[2]

    return bring


def _below(base: str) -> Bring:
    """A web address under which the files lie by their names."""

    def is_there(name: str, target: Path, progress: ProgressCallback | None) -> bool:
        try:
            fetch_file(f"{base.rstrip('/')}/{quote(name)}", target, progress=progress)
        except NotThereError:
            return False
        return True

    def bring(entry: ModelEntry, target: Path, progress: ProgressCallback | None) -> str:
        for name in _names(entry):
            if is_there(name, target, progress):
                return name
        raise NotThereError(f"no {' or '.join(entry.files)} there")

    return bring
