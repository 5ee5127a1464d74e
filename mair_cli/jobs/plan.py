"""Plan a whole run before any work: which file becomes which, in what format, measured against what."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from mair_cli.errors import ImageError, UsageError
from mair_cli.images.formats import FORMATS, INSTALL_PLUGINS, extension_for, plugin_missing, writable_format
from mair_cli.images.io import probe
from mair_cli.jobs.naming import (
    MANY,
    STANDARD_STREAM,
    Source,
    check_targets,
    companion,
    place,
    result_folder,
    source_base,
)
from mair_cli.jobs.search import base_name
from mair_cli.jobs.spool import Spool
from mair_cli.restore.signature import task_signed
from mair_cli.store.remote import Address, Place, check_writable, existing, kind_of, looked_at, parse_place

_BY_NAME = {".png": "PNG", ".bmp": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
"""The format of results by that of inputs elsewhere, where the name says enough: a header takes two requests."""

_WITH_QUALITY = ("JPEG", "WEBP", "AVIF", "JPEG2000", "HEIF", "JXL")
_SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))


@dataclass(frozen=True)
class Request:
    """What the user asked for, as far as names of files go.

    Attributes:
        suffix: what `Task.result_suffix` says.
        output: as typed; "-" stands for standard output.
        format: as typed.
        quality: 1 to 100, for formats with loss.
        compare: whether to write side-by-side pictures too.
        ground_truth: a file or a folder.
        overwrite, skip_existing: what to do with results that exist; neither refuses them.
        protected: further files that the run reads, such as weights.
    """

    suffix: str
    output: str | None = None
    format: str | None = None
    quality: int | None = None
    compare: bool = False
    ground_truth: Place | None = None
    overwrite: bool = False
    skip_existing: bool = False
    protected: tuple[Place, ...] = ()


@dataclass(frozen=True)
class Job:
    """One image and where its result goes.

    Attributes:
        source: what to restore.
        destination: the result's file; None for standard output.
        format: to write in, a key of `image_formats.WRITERS`; None decides when the image has been read.
        comparison: file of the side-by-side picture, if one is wanted.
        ground_truth: file to measure against, if there is one.
        skip: the result exists and is to be left alone.
        problem: why this image alone cannot be restored, as planning found; None where nothing speaks against it.
        unless_result: leave it out if it says of itself that it is a result of this task: planning did not look.
    """

    source: Source
    destination: Place | None
    format: str | None
    comparison: Place | None = None
    ground_truth: Place | None = None
    skip: bool = False
    problem: str | None = None
    unless_result: bool = False


def is_image_name(name: str) -> bool:
    """Whether a file in a folder is an image, going by its extension."""
    form = FORMATS.get(Path(name).suffix.lower())
    return form is not None and not plugin_missing(form)


def not_yet_readable(path: Place) -> str | None:
    """Why a picture cannot be read, and the way out, going by its extension; None where nothing speaks against it."""
    form = FORMATS.get(path.suffix.lower())
    if form is None or not plugin_missing(form):
        return None
    if form == "RAW":
        return f"camera raw needs a plug-in: {INSTALL_PLUGINS}, or convert to PNG, TIFF or JPEG first"
    return f"{form} needs a plug-in: {INSTALL_PLUGINS}"


def results_folder(output: str | None) -> Place | None:
    """The folder that an `output` names, if it clearly names one."""
    return parse_place(output) if output and output != STANDARD_STREAM and not is_image_name(output) else None


def earlier_results(sources: Collection[Source], task: str) -> list[Source]:
    """Of several sources those that say of themselves that they are results of this task, under whatever name.

    None where all are: who names results alone means them. Files elsewhere are asked when they are restored, which
    reads them anyway (`Job.unless_result`).
    """
    found = [source for source in sources if isinstance(source.path, Path) and _signed_task(source.path) == task]
    return [] if len(found) == len(sources) else found


def _signed_task(path: Path) -> str | None:
    try:
        return task_signed(probe(path).software)
    except ImageError:
        return None  # reading will fail too, and say why


def plan(sources: Collection[Source], request: Request) -> Collection[Job]:
    """Decide every name of a run, looking at headers only; of files elsewhere only where their names leave it open.

    What `naming.collect` keeps on disk is planned in parts, on disk again.

    Raises:
        UsageError: something would be overwritten, two results would share a name, ground truth is missing, or what was
            asked for does not go together. Nothing has been written then.
    """
    if request.output == STANDARD_STREAM:
        return [_stream_job(sources, request)]
    planner = _Planner(sources, request)
    if not isinstance(sources, Spool):
        jobs: Collection[Job] = planner.jobs(list(sources), planner.existing)
    else:
        there = Spool(_listed(planner.folders(sources)), base_name)
        parts = sources.parts(MANY)
        planned = (planner.jobs(part, lambda _: set(there.between(low, high))) for low, high, part in parts)  # noqa: B023 - called at once
        jobs = Spool(chain.from_iterable(planned), lambda job: source_base(job.source))
    _check_quality(request.quality, planner.formats)
    return jobs


class _Planner:
    """Plans a run as a whole, or in parts that have no names in common."""

    def __init__(self, sources: Collection[Source], request: Request) -> None:
        """Look at the output and the ground truth. Raises UsageError."""
        self._request, self._count = request, len(sources)
        self._output = output = None if request.output is None else parse_place(request.output)
        typed = request.output or ""
        self._into_folder = output is not None and (typed.endswith((*_SEPARATORS, "/")) or _is_folder(output))
        _check_output(sources, output, self._into_folder)
        self._given = None if request.format is None else writable_format(request.format)
        self._truths = _GroundTruths(request.ground_truth)
        self.formats: set[str] = set()

    def jobs(self, sources: Sequence[Source], existing_of: Callable[[Sequence[Place]], set[Address]]) -> list[Job]:
        """The jobs of some sources; `existing_of` tells which results elsewhere exist. Raises UsageError."""
        request = self._request
        named = None if self._into_folder else self._output
        formats = [_format_of(source, self._given, named) for source in sources]
        self.formats.update(formats)
        extensions = [_extension(source, name) for source, name in zip(sources, formats, strict=True)]
        places = place(sources, extensions, suffix=request.suffix, output=self._output, into_folder=self._into_folder)
        there = existing_of(places)
        jobs = [
            _job(source, destination, name, request, self._truths, self._count, there)
            for source, destination, name in zip(sources, places, formats, strict=True)
        ]
        sound = [job for job in jobs if job.problem is None]
        targets = [(job.source.name, path) for job in sound for path in (job.destination, job.comparison) if path]
        read = [*(source.path for source in sources), *(job.ground_truth for job in sound), *request.protected]
        check_targets(
            targets,
            protected=[path for path in read if path is not None],
            may_exist=request.overwrite or request.skip_existing,
            there=there,
        )
        return jobs

    def existing(self, places: Sequence[Place]) -> set[Address]:
        """Which results elsewhere are there already. Raises UsageError where that cannot be found out."""
        targets = [*places, *(companion(place) for place in places if self._request.compare)]
        with looked_at():
            return existing(target for target in targets if isinstance(target, Address))

    def folders(self, sources: Iterable[Source]) -> set[Address]:
        """The tops of the trees elsewhere that results go to, none of them within another."""
        found: set[Place] = set()
        for source in sources:
            if source.folder is not None:
                found.add(result_folder(source, source.folder, self._request.suffix, self._output))
            elif self._output is not None or source.path is not None:
                found.add(self._output or source.path.parent)  # type: ignore[union-attr]
        tops = {folder for folder in found if isinstance(folder, Address)}
        return {top for top in tops if not any(top.url.startswith(f"{other.url}/") for other in tops)}


def _listed(folders: Iterable[Address]) -> Iterator[Address]:
    """All files in them. Raises UsageError."""
    for folder in folders:
        with looked_at(), suppress(FileNotFoundError):  # nothing there yet
            yield from folder.files(recursive=True)


def _is_folder(place: Place) -> bool:
    """Whether it is one. Elsewhere a name without an extension that there is nothing of counts as one."""
    with looked_at():
        return (isinstance(place, Address) and place == place.root) or kind_of(place) == "folder"


def _job(
    source: Source,
    destination: Place,
    name: str,
    request: Request,
    truths: _GroundTruths,
    count: int,
    there: Collection[Address],
) -> Job:
    """The job; with a problem where the file system refuses it: a name too long, a folder that may not be read."""
    comparison = companion(destination) if request.compare else None
    unreadable = None if source.path is None else not_yet_readable(source.path)
    if unreadable is not None:
        return Job(source, destination, name, problem=unreadable)
    try:
        for target in (destination, comparison):
            if isinstance(target, Path):
                _lstat(target)
        truth = truths.of(source, count)
        exists = destination in there if isinstance(destination, Address) else destination.exists()
        found_elsewhere = isinstance(source.path, Address) and source.folder is not None
        return Job(
            source,
            destination,
            name,
            comparison,
            truth,
            skip=request.skip_existing and exists,
            unless_result=found_elsewhere,
        )
    except OSError as error:
        return Job(source, destination, name, problem=f"{error.filename or destination}: {error.strerror or error}")


def _lstat(path: Path) -> None:
    """Raise OSError where the file system cannot even be asked for `path`; whether it exists does not matter."""
    with suppress(FileNotFoundError, NotADirectoryError):
        path.lstat()


def _stream_job(sources: Collection[Source], request: Request) -> Job:
    source = next(iter(sources))
    if len(sources) != 1 or source.folder is not None:
        raise UsageError("`output` - (standard output) takes a single image: name one input.")
    if request.compare:
        raise UsageError("`compare` needs a file to put its picture beside: name one as `output`.")
    given = None if request.format is None else writable_format(request.format)
    if given is not None:
        _check_quality(request.quality, [given])
    return Job(source, None, given, None, _GroundTruths(request.ground_truth).of(source, 1))


def _check_quality(quality: int | None, formats: Collection[str]) -> None:
    if quality is not None and not any(name in _WITH_QUALITY for name in formats):
        written = ", ".join(sorted(set(formats)))
        raise UsageError(f"`quality` {quality}: {written} knows none; add `format` jpg, webp or avif, or leave it out.")


def _check_output(sources: Iterable[Source], output: Place | None, into_folder: bool) -> None:
    if output is None or _is_folder(output):
        return
    wants_folder = into_folder or any(not source.alone or source.folder is not None for source in sources)
    if wants_folder and kind_of(output) is not None:
        raise UsageError(f"`output` {output} is a file; these inputs need a folder to write to.")
    if wants_folder and not into_folder and is_image_name(output.name):
        raise UsageError(
            f"`output` {output} looks like a file; these inputs need a folder (end its name with / to insist)."
        )


def _format_of(source: Source, given: str | None, output: Place | None) -> str:
    """Format of a result: what the user says, by name or by the extension of the output; else what suits the input."""
    if output is not None and source.alone and source.folder is None:
        named = FORMATS.get(output.suffix.lower())
        if named is None and given is None:
            raise UsageError(
                f"`output` {output}: no format is known by {output.suffix or 'a name without extension'};"
                " end it with .png or another, add `format`, or end it with / for a folder."
            )
        if named is not None and given is not None and writable_format(output.suffix) != given:
            raise UsageError(f"`output` {output} and `format` {given.lower()} contradict each other: leave one out.")
        return given or writable_format(output.suffix)
    return given or _suitable_format(source)


def _suitable_format(source: Source) -> str:
    if source.path is None or (isinstance(source.path, Path) and not source.path.is_file()):
        return "PNG"
    if isinstance(source.path, Address) and (named := _BY_NAME.get(source.path.suffix.lower())):
        return named
    try:
        return probe(source.path).default_format
    except ImageError:
        return "PNG"  # reading will fail too, and say why; the name does not matter then


def _extension(source: Source, name: str) -> str:
    """The input's own spelling (`.JPEG`) where it fits the format, else the usual one."""
    own = source.within.suffix
    return own if FORMATS.get(own.lower()) == name else extension_for(name)


class _GroundTruths:
    """The files to measure results against.

    A file serves one input. A folder holds the same tree as the inputs' folder, or files of the same names;
    extensions may differ.
    """

    def __init__(self, place: Place | None) -> None:
        """Look at `place`: a file, a folder, or None. Raises UsageError where there is nothing."""
        self._place, self._named = place, dict[tuple[Address, str], list[Address]]()
        if place is None:
            return
        try:
            kind = kind_of(place)
            if isinstance(place, Address) and kind == "folder":
                for file in place.find(recursive=True)[0]:
                    self._named.setdefault((file.parent, file.stem), []).append(file)
        except OSError as error:
            raise UsageError(f"`gt` {place}: {error.strerror or error}.") from error
        if not kind:
            raise UsageError(f"`gt` {place}: no such file or folder.")
        self._folder = kind == "folder"

    def of(self, source: Source, count: int) -> Place | None:
        """The one of a source, of `count` sources. Raises UsageError where there is none, or no telling which."""
        place = self._place
        if place is None:
            return None
        if not self._folder:
            if count != 1:
                raise UsageError(
                    f"`gt` {place} is one file for {count} inputs: give a folder with a file of each name."
                )
            return place
        if source.path is None:
            raise UsageError("`gt`: standard input has no name to look for in a folder; give the file.")
        for wanted in dict.fromkeys((place / source.within, place / source.within.name)):
            same = self._of_that_stem(wanted)
            if wanted in same:
                return wanted
            same = [file for file in same if is_image_name(file.name)]
            if len(same) == 1:
                return same[0]
        raise UsageError(f"`gt` {place}: it holds no file named like {source.name}.")

    def _of_that_stem(self, wanted: Place) -> Sequence[Place]:
        if isinstance(wanted, Address):
            return self._named.get((wanted.parent, wanted.stem), [])
        if wanted.is_file():
            return [wanted]
        return [file for file in wanted.parent.iterdir() if file.stem == wanted.stem] if wanted.parent.is_dir() else []


def check_writable_places(jobs: Iterable[Job]) -> None:
    """Try to write to each bucket that results go to. Raises UsageError where that is not possible."""
    tops: dict[Address, Address] = {}
    for job in jobs:
        for target in (job.destination, job.comparison):
            if isinstance(target, Address):
                tops.setdefault(target.root, target.parent)
    for folder in tops.values():
        check_writable(folder)
