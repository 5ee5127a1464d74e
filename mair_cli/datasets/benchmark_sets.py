"""The benchmark sets by name: their files with sizes and SHA-256, a public source, and where they lie on this machine.

The catalogue (`benchmark_sets.json`) names for each file the public repository, commit and path that hold it byte for
byte, so a raw-file address at that commit is a stable source. Sets that may not be passed on have none; for those the
catalogue says how to get them.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import cast
from urllib.parse import quote

from mair_cli.errors import DownloadError, UsageError
from mair_cli.store.addresses import masked
from mair_cli.store.download import fetch_file
from mair_cli.store.files import file_sha256
from mair_cli.store.paths import cache_dir, check_online, expanded
from mair_cli.tasks import TASKS

__all__ = ["BenchmarkSet", "CatalogueFile", "LocatedSet", "catalogue", "fetch_set", "find_set", "locate_set", "verify"]

log = logging.getLogger(__name__)

RAW_FILES = "https://raw.githubusercontent.com"
"""Source of every catalogued file; `MAIR_DATA_URL` names a mirror of it."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class CatalogueFile:
    """One file of a set: path below the set's folder, size in bytes, SHA-256, and path below `RAW_FILES`."""

    path: str
    size: int
    sha256: str
    source: str


@dataclass(frozen=True)
class BenchmarkSet:
    """A set as the catalogue knows it.

    Attributes:
        name: as papers write it.
        images: number of images of the full set.
        tasks: what it is usually measured for.
        aliases: other spellings.
        origin: who made it.
        licence: what is known of the right to use it.
        files: every catalogued file, empty where there is no public source.
        note: what to know before using it, or "".
        how: how to get it where there is no public source, or "".
    """

    name: str
    images: int
    tasks: tuple[str, ...]
    aliases: tuple[str, ...]
    origin: str
    licence: str
    files: tuple[CatalogueFile, ...]
    note: str = ""
    how: str = ""

    def files_for(self, task: str, scale: int) -> list[CatalogueFile]:
        """The files that measuring `task` needs: pairs of that scale, or ground truth to make inputs from."""
        scales = sorted({match[1] for file in self.files if (match := _scale_of(file.path))})
        if not scales:
            return list(self.files)
        paired = TASKS[task].enlarges and str(scale) in scales
        chosen = str(scale) if paired else scales[0]
        wanted = [file for file in self.files if (match := _scale_of(file.path)) and match[1] == chosen]
        return wanted if paired else [file for file in wanted if "_HR." in file.path]


@dataclass(frozen=True)
class LocatedSet:
    """A benchmark folder on this machine.

    Attributes:
        name: for tables: the set's name, or the folder's.
        folder: where its images lie.
        known: its catalogue entry, where the name is a known set's.
        origin: "data folder", "cache" or "folder".
    """

    name: str
    folder: Path
    known: BenchmarkSet | None
    origin: str


def _scale_of(path: str) -> re.Match[str] | None:
    return re.match(r"image_SRF_(\d)/", path)


@lru_cache(maxsize=1)
def catalogue() -> Mapping[str, BenchmarkSet]:
    """All known sets by name, in the order in which papers list them."""
    text = resources.files("mair_cli.datasets").joinpath("benchmark_sets.json").read_text(encoding="utf-8")
    return {name: _entry(name, fields) for name, fields in json.loads(text).items()}


def _entry(name: str, fields: Mapping[str, object]) -> BenchmarkSet:
    listed = cast("Mapping[str, tuple[int, str]]", fields.get("files", {}))
    base = f"{fields.get('repository')}/{fields.get('commit')}/{fields.get('prefix')}"
    return BenchmarkSet(
        name=name,
        images=cast(int, fields["images"]),
        tasks=tuple(cast("list[str]", fields["tasks"])),
        aliases=tuple(cast("list[str]", fields["aliases"])),
        origin=str(fields["origin"]),
        licence=str(fields["licence"]),
        files=tuple(CatalogueFile(path, size, sha256, f"{base}/{path}") for path, (size, sha256) in listed.items()),
        note=str(fields.get("note", "")),
        how=str(fields.get("how", "")),
    )


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def find_set(name: str) -> BenchmarkSet | None:
    """The known set of that name or alias, capitals and punctuation aside; None where there is none."""
    wanted = _folded(name)
    for entry in catalogue().values():
        if wanted in {_folded(spelling) for spelling in (entry.name, *entry.aliases)}:
            return entry
    return None


def locate_set(
    name: str,
    *,
    task: str,
    scale: int = 1,
    data_dir: Path | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> LocatedSet:
    """Find a set by name or folder, fetching it into the cache where needed.

    Looked at in this order: `data_dir` (or `MAIR_DATA_DIR`), a folder of that path, the cache, the public source.

    Args:
        name: a set's name, or the path of a folder.
        task: what will be measured; decides which files are fetched.
        scale: enlargement for "sr".
        data_dir: folder with a subfolder per set; None takes `MAIR_DATA_DIR` if set.
        offline: fetch nothing.
        progress: called with (files done, files in all) while fetching.

    Returns:
        Where the set lies.

    Raises:
        UsageError: unknown name, or a set without public source that is not on this machine.
        OfflineError: it would have to be fetched.
        DownloadError: fetching failed.
    """
    known = find_set(Path(name).name)
    folder = _in_data_dir(name, known, data_dir)
    if folder is not None:
        return LocatedSet(known.name if known else folder.name, folder, known, "data folder")
    if Path(name).is_dir():
        path = Path(name)
        return LocatedSet(known.name if known else path.resolve().name, path, known, "folder")
    known = find_set(name)
    if known is None:
        raise UsageError(
            f"There is no benchmark set or folder called {name!r}. Known sets: {', '.join(catalogue())}; "
            "`data_dir` names the folder that holds them."
        )
    if not known.files:
        raise UsageError(f"{known.name} is not on this machine and has no public source. {known.how}")
    target = cache_dir() / "benchmarks" / known.name
    fetch_set(known, target, task=task, scale=scale, offline=offline, progress=progress)
    return LocatedSet(known.name, target, known, "cache")


def _in_data_dir(name: str, known: BenchmarkSet | None, data_dir: Path | None) -> Path | None:
    if data_dir is None:
        named = os.environ.get("MAIR_DATA_DIR", "").strip()
        if not named:
            return None
        data_dir = expanded(named)
        origin = "MAIR_DATA_DIR"
    else:
        origin = "`data_dir`"
    if not data_dir.is_dir():
        raise UsageError(f"{origin}: {data_dir} is not a folder")
    if Path(name).name != name:
        return None
    spellings = {_folded(spelling) for spelling in ((known.name, *known.aliases) if known else (name,))}
    for child in sorted(data_dir.iterdir()):
        if child.is_dir() and _folded(child.name) in spellings:
            return child
    log.info("%s has no folder for %s", data_dir, name)
    return None


def fetch_set(
    known: BenchmarkSet,
    target: Path,
    *,
    task: str,
    scale: int = 1,
    offline: bool = False,
    progress: Progress | None = None,
) -> None:
    """Fetch the files of a set that are missing or damaged; each is checked by size and SHA-256.

    Args:
        known: the set; it must have files.
        target: folder of the set, made where needed.
        task: see `locate_set`.
        scale: see `locate_set`.
        offline: fetch nothing.
        progress: called with (files done, files in all).

    Raises:
        OfflineError: a file is missing and `offline` forbids fetching.
        DownloadError: a file could not be fetched, or is not the catalogue's; the others fetched so far are kept.
    """
    wanted = known.files_for(task, scale)
    missing = [file for file in wanted if not _is_intact(target / file.path, file)]
    if not missing:
        return
    check_online(
        f"{known.name}: {len(missing)} of {len(wanted)} files are not in {target}",
        offline=offline,
        way_out=" `data_dir` names a folder that holds the set.",
    )
    base = os.environ.get("MAIR_DATA_URL", "").strip().rstrip("/") or RAW_FILES
    log.info("fetching %d files of %s from %s", len(missing), known.name, masked(base))
    for done, file in enumerate(missing):
        if progress is not None:
            progress(done, len(missing))
        path = target / file.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fetch_file(f"{base}/{quote(file.source)}", path, sha256=file.sha256, size=file.size)
        except DownloadError as error:
            raise DownloadError(
                f"{known.name}: {error} ({done} of {len(missing)} missing files came; "
                "the same command goes on from there)"
            ) from error
        except OSError as error:
            raise DownloadError(f"{known.name}: cannot write to {path.parent}: {error.strerror}") from error
    if progress is not None:
        progress(len(missing), len(missing))


def _is_intact(path: Path, file: CatalogueFile) -> bool:
    return path.is_file() and path.stat().st_size == file.size and file_sha256(path) == file.sha256


def verify(located: LocatedSet, paths: list[Path]) -> tuple[int, int, list[Path]]:
    """Compare files of a known set with the catalogue, by content.

    Args:
        located: the set.
        paths: files in use.

    Returns:
        (files equal to the catalogue's, files compared, files that the catalogue knows by name but not by content).
        A file is found by its name; (0, 0, []) for unknown sets and for sets without catalogued files.
    """
    if located.known is None or not located.known.files:
        return 0, 0, []
    hashes: dict[str, set[str]] = {}
    for file in located.known.files:
        hashes.setdefault(Path(file.path).name, set()).add(file.sha256)
    different = [path for path in paths if path.is_file() and file_sha256(path) not in hashes.get(path.name, set())]
    return len(paths) - len(different), len(paths), different
