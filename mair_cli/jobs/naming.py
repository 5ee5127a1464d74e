"""Which files are meant, and what their results are called: decided for a whole run before any work is done.

Nothing here opens an image. Two results never get one name, and no result replaces an input.
"""

from __future__ import annotations

import glob
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mair_cli.errors import UsageError

STANDARD_STREAM = "-"
_RESULT = re.compile(
    r"(?P<stem>.+)_mair_(?:[a-z]*[0-9.]*|[0-9]+x[0-9]*)(?:_compare)?"
)  # see `Task.result_suffix` and `companion`
_NAMED_AT_MOST = 3  # files named in one message; more would bury the advice


@dataclass(frozen=True)
class Source:
    """One image to restore.

    Attributes:
        path: its file; None for standard input.
        folder: the folder named by the user in which it was found; None for a file named by itself.
        alone: whether this file or folder is all that the user named.
    """

    path: Path | None
    folder: Path | None = None
    alone: bool = True

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return "standard input" if self.path is None else str(self.path)

    @property
    def within(self) -> Path:
        """Its place below `folder`; its bare name for a file named by itself."""
        if self.path is None:
            return Path("stdin")
        return Path(self.path.name) if self.folder is None else self.path.relative_to(self.folder)


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes:
        sources: the images.
        problems: names that led to none, each with the reason in words.
        ignored: files of folders that are no images by their names; hidden ones are not counted.
        results: files and folders that earlier runs made of what is among the inputs too, going by their names.
        folders: subfolders that were not entered, since nobody asked to descend.
    """

    sources: tuple[Source, ...]
    problems: tuple[tuple[str, str], ...]
    ignored: tuple[Path, ...] = ()
    results: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()


def collect(
    arguments: Sequence[str],
    *,
    recursive: bool,
    is_image: Callable[[str], bool],
    leave_out: Path | None = None,
) -> Found:
    """The images meant by files, folders, globs and `-`, each once, in the order given (folders by name).

    Args:
        arguments: as typed; a name with `*`, `?` or `[` that is no file is taken as a glob, `**` included.
        recursive: descend into folders.
        is_image: tells by its name whether a file in a folder is to be taken; hidden files never are.
        leave_out: folder of results; what lies in it is no input when found below a folder.

    Raises:
        UsageError: not a single argument leads to an image, or standard input is named twice.
    """
    if arguments.count(STANDARD_STREAM) > 1:
        raise UsageError("- (standard input) can be given only once.")
    sources: dict[tuple[str, str], Source] = {}
    search = _Search(recursive, is_image, leave_out)
    for argument in arguments:
        if argument == STANDARD_STREAM:
            sources["", ""] = Source(None, alone=len(arguments) == 1)
            continue
        paths = search.expand(argument)
        alone = len(arguments) == len(paths) == 1
        for path in paths:
            if path.is_dir():
                found = [Source(file, folder=path, alone=alone) for file in search.walk(path)]
            else:
                found = [Source(path, alone=alone)]
            for source in found:
                sources.setdefault(_source_key(source), source)
    if not sources:
        raise UsageError("\n".join(f"{name}: {reason}" for name, reason in search.problems[:_NAMED_AT_MOST]))
    originals = {_original_key(source.path) for source in sources.values() if source.path is not None}
    results = {key: source.path for key, source in sources.items() if _is_result(source.path, originals)}
    kept = tuple(source for key, source in sources.items() if key not in results)
    made = [*search.results, *(path for path in results.values() if path is not None)]
    return Found(kept, tuple(search.problems), tuple(search.ignored), tuple(made), tuple(search.folders))


def _original_key(path: Path) -> tuple[str, str]:
    return os.path.realpath(path.parent), path.stem


def _is_result(path: Path | None, originals: Collection[tuple[str, str]]) -> bool:
    """Whether a file is named like a result of one of `originals`, (folder, stem): the same pattern given again."""
    named = None if path is None else _RESULT.fullmatch(path.stem)
    if path is None or named is None:
        return False
    stem, folder = named["stem"], os.path.realpath(path.parent)
    # Results that would have shared a name carry the input's extension: photo_jpg_mair_x4.
    return (folder, stem) in originals or (folder, stem.rpartition("_")[0]) in originals


def _source_key(source: Source) -> tuple[str, str]:
    """Equal where one file was named twice; a file found below a folder counts beside the same one named by itself."""
    path = source.path or Path()
    folder = "" if source.folder is None else os.path.realpath(source.folder)
    return os.path.join(os.path.realpath(path.parent), path.name), folder  # noqa: PTH118 - realpath works on text


@dataclass
class _Search:
    """Looks for images, and notes what it did not take. See `collect` and `Found`."""

    recursive: bool
    is_image: Callable[[str], bool]
    leave_out: Path | None
    problems: list[tuple[str, str]] = field(default_factory=list)
    ignored: list[Path] = field(default_factory=list)
    results: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)

    def expand(self, argument: str) -> list[Path]:
        """The paths an argument stands for. Shells that do not expand globs hand them to us."""
        if argument and os.path.lexists(argument):
            return [Path(argument)]
        if not argument or not glob.has_magic(argument):
            self.problems.append((argument, "no such file or folder" if argument else "an empty name is no input"))
            return []
        # Path.glob takes no absolute patterns, and knows nothing of a pattern's leading folders.
        matches = [Path(match) for match in sorted(glob.glob(argument, recursive=True))]  # noqa: PTH207
        wanted = [path for path in matches if self.is_image(path.name) or path.is_dir()]
        if not wanted:
            self.problems.append((argument, "no image matches" if matches else "no file matches"))
        return wanted

    def walk(self, folder: Path) -> list[Path]:
        """Images in a folder, sorted; links to folders are not followed, so that a loop of links ends."""
        excluded = None if self.leave_out is None else os.path.realpath(self.leave_out)
        if excluded == os.path.realpath(folder):
            excluded = None  # results into the folder of the inputs: refused by name where they would clash
        found: list[Path] = []
        troubles = len(self.problems)
        for parent, folders, names in os.walk(folder, onerror=self._unreadable):
            files = [Path(parent, name) for name in sorted(names) if not name.startswith(".")]
            found += (file for file in files if self.is_image(file.name))
            self.ignored += (file for file in files if not self.is_image(file.name))
            made = [name for name in folders if (named := _RESULT.fullmatch(name)) and named["stem"] in folders]
            self.results += (Path(parent, name) for name in sorted(made) if self.recursive)
            folders[:] = sorted(
                name
                for name in folders
                if not name.startswith(".") and name not in made and os.path.realpath(Path(parent, name)) != excluded
            )
            if not self.recursive:
                self.folders += (Path(parent, name) for name in folders)
                folders.clear()
        if not found and len(self.problems) == troubles:
            hint = "" if self.recursive else "; `recursive` descends into folders"
            self.problems.append((str(folder), f"no images in this folder{hint}"))
        return found

    def _unreadable(self, error: OSError) -> None:
        self.problems.append((str(error.filename), error.strerror or "cannot be read"))


def place(
    sources: Sequence[Source],
    extensions: Sequence[str],
    *,
    suffix: str,
    output: Path | None = None,
    into_folder: bool = False,
) -> list[Path]:
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

    def spot(index: int, tag: str) -> Path:
        source, extension = sources[index], extensions[index]
        if source.folder is not None:
            root = _result_folder(source, source.folder, suffix, output)
            return root / source.within.with_name(source.within.stem + tag + extension)
        if output is not None and source.alone and not into_folder:
            return output
        if output is None and source.path is None:
            raise UsageError(
                "Standard input has no folder to write to: name a file as `output`, or - for standard output."
            )
        parent = output if output is not None else Path(source.name).parent
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


def _result_folder(source: Source, folder: Path, suffix: str, output: Path | None) -> Path:
    """Top of the tree that mirrors `folder`."""
    if folder.name in ("", ".."):  # `.`, `..` and the like have a name only when written out
        folder = folder.resolve()
    if output is not None:
        return output if source.alone else output / folder.name
    if not folder.name:
        raise UsageError(f"{folder} has no name to derive another from: say where to write by `output`.")
    return folder.with_name(folder.name + suffix)


def _tag(source: Source) -> str:
    return source.within.suffix.replace(".", "_")


def companion(destination: Path) -> Path:
    """Name of the side-by-side picture that goes with a result."""
    return destination.with_name(f"{destination.stem}_compare.png")


def path_key(path: Path) -> str:
    """Equal for two paths that may name one file: through linked folders, other capitals, or composed accents."""
    real = os.path.join(os.path.realpath(path.parent), path.name)  # noqa: PTH118 - realpath works on text
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", real).casefold())


def _refuse_clashes(targets: Iterable[tuple[str, Path]]) -> None:
    first: dict[str, str] = {}
    for name, target in targets:
        other = first.setdefault(path_key(target), name)
        if other != name:
            raise UsageError(f"{other} and {name} would both be written to {target}: restore them in two runs.")


def check_targets(targets: Sequence[tuple[str, Path]], *, protected: Collection[Path], may_exist: bool) -> None:
    """Refuse a run that would destroy something or could not write.

    Args:
        targets: every file to be written, each with the name of the input it comes from.
        protected: files that the run reads: inputs, ground truth, weights.
        may_exist: whether targets that exist are taken care of (``overwrite``, ``skip_existing``).

    Raises:
        UsageError: two targets share a name; a target is a protected file, also through a link or another name; a
            target exists; or it cannot be written where it should be.
    """
    _refuse_clashes(targets)
    owners: dict[object, Path] = {mark: path for path in protected for mark in _marks(path)}
    existing = []
    for _, target in targets:
        for mark in _marks(target):
            if mark in owners:
                raise UsageError(
                    f"{target} is {owners[mark]} itself or linked to it, which this run reads: choose another `output`."
                )
        if target.is_dir():
            raise UsageError(f"{target} is a folder, where a file is to be written: choose another `output`.")
        if os.path.lexists(target):
            existing.append(target)
        else:
            _check_parent(target)
    if existing and not may_exist:
        verb = "exists" if len(existing) == 1 else "exist"
        raise UsageError(f"{listed(existing)} {verb} already: `overwrite` replaces, `skip_existing` leaves out.")


def _marks(path: Path) -> Iterator[object]:
    """What tells that two paths mean one file: the name, and the file's number on its device, which all links share."""
    yield path_key(path)
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


def listed(paths: Sequence[Path]) -> str:
    """The first few of many paths, for a message."""
    shown = ", ".join(map(str, paths[:_NAMED_AT_MOST]))
    rest = len(paths) - _NAMED_AT_MOST
    return f"{shown} and {rest} more" if rest > 0 else shown
