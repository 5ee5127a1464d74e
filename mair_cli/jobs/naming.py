"""Which files are meant, and what their results are called: decided for a whole run before any work is done.

Nothing here opens an image. Two results never get one name, and no result replaces an input.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path, PurePath

from mair_cli.errors import UsageError
from mair_cli.jobs.search import RESULT, Search, base_name
from mair_cli.jobs.spool import Spool
from mair_cli.store.remote import Address, Place, existing, is_address

STANDARD_STREAM = "-"
MANY = 10_000
"""So many sources elsewhere are kept on disk and planned in parts of this size."""

_NAMED_AT_MOST = 3  # files named in one message; more would bury the advice


@dataclass(frozen=True)
class Source:
    """One image to restore.

    Attributes:
        path: its file, here or elsewhere; None for standard input.
        folder: the folder named by the user in which it was found; None for a file named by itself.
        alone: whether this file or folder is all that the user named.
    """

    path: Place | None
    folder: Place | None = None
    alone: bool = True

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return "standard input" if self.path is None else str(self.path)

    @property
    def within(self) -> PurePath:
        """Its place below `folder`; its bare name for a file named by itself."""
        if self.path is None:
            return Path("stdin")
        if self.folder is None:
            return PurePath(self.path.name)
        return PurePath(self.path.relative_to(self.folder))  # type: ignore[arg-type]  # both here, or both elsewhere


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes:
        sources: the images; of `MANY` and more, all elsewhere, a `Spool`, in the order of their names.
        problems: names that led to none, each with the reason in words.
        ignored: files of folders that are no images by their names; hidden ones are not counted.
        more_ignored, more_results: how many more there are, of which nothing is remembered.
        results: files and folders that earlier runs made of what is among the inputs too, going by their names.
        folders: subfolders that were not entered, since nobody asked to descend.
    """

    sources: Collection[Source]
    problems: tuple[tuple[str, str], ...]
    ignored: tuple[Place, ...] = ()
    more_ignored: int = 0
    results: tuple[Place, ...] = ()
    more_results: int = 0
    folders: tuple[Place, ...] = ()


def collect(
    arguments: Sequence[str],
    *,
    recursive: bool,
    is_image: Callable[[str], bool],
    leave_out: Place | None = None,
) -> Found:
    """The images meant by files, folders, globs, addresses and `-`, each once, in the order given (folders by name).

    Args:
        arguments: as typed; a name with `*`, `?` or `[` that is no file is taken as a glob, `**` included.
        recursive: descend into folders.
        is_image: tells by its name whether a file in a folder is to be taken; hidden files never are.
        leave_out: folder of results; what lies in it is no input when found below a folder.

    Raises:
        UsageError: not a single argument leads to an image, standard input is named twice, or an address cannot be
            looked at.
    """
    if arguments.count(STANDARD_STREAM) > 1:
        raise UsageError("- (standard input) can be given only once.")
    search = Search(recursive, is_image, leave_out)
    listed = _listed(arguments, search)
    first = list(islice(listed, MANY))
    more_results = 0
    kept: Collection[Source]
    if len(first) == MANY and all(map(is_address, arguments)):
        kept, made, more_results = _collected_on_disk(chain(first, listed))
    else:
        kept, made = _without_results(chain(first, listed))
    if not kept and not made:
        raise UsageError("\n".join(f"{name}: {reason}" for name, reason in search.problems[:_NAMED_AT_MOST]))
    return Found(
        kept,
        tuple(search.problems),
        tuple(search.ignored),
        search.more_ignored,
        (*search.results, *made),
        more_results,
        tuple(search.folders),
    )


def _listed(arguments: Sequence[str], search: Search) -> Iterator[Source]:
    for argument in arguments:
        if argument == STANDARD_STREAM:
            yield Source(None, alone=len(arguments) == 1)
            continue
        paths = search.expand(argument)
        alone = len(arguments) == len(paths) == 1
        for path in paths:
            files = search.within(path)
            if files is None:
                yield Source(path, alone=alone)
            else:
                yield from (Source(file, folder=path, alone=alone) for file in files)


def _without_results(listed: Iterable[Source]) -> tuple[tuple[Source, ...], list[Place]]:
    """Sources, each once, without those that are named like results of others; and these."""
    sources: dict[tuple[str, str], Source] = {}
    for source in listed:
        sources.setdefault(_source_key(source), source)
    originals = {_original_key(source.path) for source in sources.values() if source.path is not None}
    results = {key: source.path for key, source in sources.items() if _is_result(source.path, originals)}
    kept = tuple(source for key, source in sources.items() if key not in results)
    return kept, [path for path in results.values() if path is not None]


def _collected_on_disk(listed: Iterable[Source]) -> tuple[Spool[Source], list[Place], int]:
    """The same for more of them than memory should hold; of the results a few, and how many more there are."""
    made: list[Place] = []
    counts: list[int] = []

    def kept() -> Iterator[Source]:
        for _, _, part in Spool(listed, source_base).parts(MANY):
            some, results = _without_results(part)
            made.extend(results[: _NAMED_AT_MOST - len(made)] if len(made) < _NAMED_AT_MOST else ())
            counts.append(len(results))
            yield from some

    spool = Spool(kept(), source_base)
    return spool, made, sum(counts) - len(made)


def source_base(source: Source) -> str:
    """See `search.base_name`; empty for standard input."""
    return "" if source.path is None else base_name(source.path)


def _original_key(path: Place) -> tuple[str, str]:
    return _folder_key(path.parent), path.stem


def _folder_key(folder: Place) -> str:
    """Equal for two names of one folder."""
    return folder.url if isinstance(folder, Address) else os.path.realpath(folder)


def _is_result(path: Place | None, originals: Collection[tuple[str, str]]) -> bool:
    """Whether a file is named like a result of one of `originals`, (folder, stem): the same pattern given again."""
    named = None if path is None else RESULT.fullmatch(path.stem)
    if path is None or named is None:
        return False
    stem, folder = named["stem"], _folder_key(path.parent)
    # Results that would have shared a name carry the input's extension: photo_jpg_mair_x4.
    return (folder, stem) in originals or (folder, stem.rpartition("_")[0]) in originals


def _source_key(source: Source) -> tuple[str, str]:
    """Equal where one file was named twice; a file found below a folder counts beside the same one named by itself."""
    path = source.path or Path()
    folder = "" if source.folder is None else _folder_key(source.folder)
    if isinstance(path, Address):
        return path.url, folder
    return os.path.join(os.path.realpath(path.parent), path.name), folder  # noqa: PTH118 - realpath works on text


def place(
    sources: Sequence[Source],
    extensions: Sequence[str],
    *,
    suffix: str,
    output: Place | None = None,
    into_folder: bool = False,
) -> list[Place]:
    """Where each result goes. Results that would share a name get the input's extension into it (`x_jpg`, `x_png`).

    Args:
        sources: what is restored.
        extensions: for each, the extension of its result, with the dot.
        suffix: what `Task.result_suffix` says.
        output: what the user named; None puts results beside the inputs.
        into_folder: `output` is a folder even for a single file.

    Returns:
        A path for each source, in order; they differ even where capitals do not count.

    Raises:
        UsageError: two results would still share a name, or a result has nowhere to go.
    """

    def spot(index: int, tag: str) -> Place:
        source, extension = sources[index], extensions[index]
        if source.folder is not None:
            root = result_folder(source, source.folder, suffix, output)
            return root / source.within.with_name(source.within.stem + tag + extension)
        if output is not None and source.alone and not into_folder:
            return output
        if output is None and source.path is None:
            raise UsageError(
                "Standard input has no folder to write to: name a file as `output`, or - for standard output."
            )
        parent = output if output is not None or source.path is None else source.path.parent
        assert parent is not None
        return parent / f"{source.within.stem}{tag}{suffix}{extension}"

    plain = [spot(index, "") for index in range(len(sources))]
    keys = [path_key(path) for path in plain]
    taken = Counter(keys)
    places = [
        path if taken[key] == 1 else spot(index, _tag(sources[index]))
        for index, (path, key) in enumerate(zip(plain, keys, strict=True))
    ]
    _refuse_clashes(zip((source.name for source in sources), places, strict=True))
    return places


def result_folder(source: Source, folder: Place, suffix: str, output: Place | None) -> Place:
    """Top of the tree that mirrors `folder`."""
    if isinstance(folder, Path) and folder.name in (
        "",
        "..",
    ):  # `.`, `..` and the like have a name only when written out
        folder = folder.resolve()
    if output is not None:
        return output if source.alone else output / folder.name
    if not folder.name:
        raise UsageError(f"{folder} has no name to derive another from: say where to write by `output`.")
    return folder.with_name(folder.name + suffix)


def _tag(source: Source) -> str:
    return source.within.suffix.replace(".", "_")


def companion(destination: Place) -> Place:
    """Name of the side-by-side picture that goes with a result."""
    return destination.with_name(f"{destination.stem}_compare.png")


def path_key(path: Place) -> str:
    """Equal for two paths that may name one file: through linked folders, other capitals, or composed accents.

    Elsewhere names count as they are written.
    """
    if isinstance(path, Address):
        return path.url
    real = os.path.join(os.path.realpath(path.parent), path.name)  # noqa: PTH118 - realpath works on text
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", real).casefold())


def _refuse_clashes(targets: Iterable[tuple[str, Place]]) -> None:
    first: dict[str, str] = {}
    for name, target in targets:
        other = first.setdefault(path_key(target), name)
        if other != name:
            raise UsageError(f"{other} and {name} would both be written to {target}: restore them in two runs.")


def check_targets(
    targets: Sequence[tuple[str, Place]],
    *,
    protected: Collection[Place],
    may_exist: bool,
    there: Collection[Address] | None = None,
) -> None:
    """Refuse a run that would destroy something or could not write.

    Args:
        targets: every file to be written, each with the name of the input it comes from.
        protected: files that the run reads: inputs, ground truth, weights.
        may_exist: whether targets that exist are taken care of (``overwrite``, ``skip_existing``).
        there: targets elsewhere that exist, where that is known.

    Raises:
        UsageError: two targets share a name; a target is a protected file, also through a link or another name; a
            target exists; or it cannot be written where it should be.
    """
    _refuse_clashes(targets)
    owners: dict[object, Place] = {mark: path for path in protected for mark in _marks(path)}
    if there is None:
        there = existing(target for _, target in targets if isinstance(target, Address))
    taken: list[Place] = []
    for _, target in targets:
        for mark in _marks(target):
            if mark in owners:
                raise UsageError(
                    f"{target} is {owners[mark]} itself or linked to it, which this run reads: choose another `output`."
                )
        if isinstance(target, Address):
            taken += [target] if target in there else []
            continue
        if target.is_dir():
            raise UsageError(f"{target} is a folder, where a file is to be written: choose another `output`.")
        if os.path.lexists(target):
            taken.append(target)
        else:
            _check_parent(target)
    if taken and not may_exist:
        verb = "exists" if len(taken) == 1 else "exist"
        raise UsageError(f"{listed(taken)} {verb} already: `overwrite` replaces, `skip_existing` leaves out.")


def _marks(path: Place) -> Iterator[object]:
    """What tells that two paths mean one file: the name, and the file's number on its device, which all links share."""
    yield path_key(path)
    if isinstance(path, Address):
        return
    with suppress(OSError):
        status = path.stat()
        yield status.st_dev, status.st_ino


def _check_parent(target: Path) -> None:
    """Refuse a place that is no folder or may not be written to; folders still to be made count as their parents."""
    parent = target.absolute().parent
    while not os.path.lexists(parent):
        parent = parent.parent
    if not parent.is_dir():
        raise UsageError(f"{target} cannot be written: {parent} is not a folder.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise UsageError(f"{target} cannot be written: no permission to write to {parent}.")


def listed(paths: Sequence[Place], more: int = 0) -> str:
    """The first few of many paths, for a message; `more` counts others."""
    shown = ", ".join(map(str, paths[:_NAMED_AT_MOST]))
    rest = len(paths) + more - _NAMED_AT_MOST
    return f"{shown} and {rest} more" if rest > 0 else shown
