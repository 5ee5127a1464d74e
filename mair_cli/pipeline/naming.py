"""Which files are meant, and what their results are called: decided for a whole run before any work is done.

Nothing here opens an image. Two results never get one name, and no result replaces an input.
"""

from __future__ import annotations

import glob
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mair_cli.errors import UsageError

STANDARD_STREAM = "-"
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
    """Sources, and what yielded none: each with the reason, in words."""

    sources: tuple[Source, ...]
    problems: tuple[tuple[str, str], ...]


def name_suffix(task: str, *, scale: int = 1, sigma: float | None = None) -> str:
    """What is added to a file's name: `_mair_x4`, `_mair_s25`, `_mair_denoised`, `_mair_deblurred`, `_mair_dehazed`.

    Args:
        task: "sr", "denoise", "real-denoise", "deblur" or "dehaze".
        scale: enlargement, for "sr".
        sigma: noise level of 255, for "denoise"; None where it is estimated for each image.
    """
    if task == "sr":
        return f"_mair_x{scale}"
    if task == "denoise" and sigma is not None:
        return f"_mair_s{sigma:g}"
    return {"deblur": "_mair_deblurred", "dehaze": "_mair_dehazed"}.get(task, "_mair_denoised")


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
    problems: list[tuple[str, str]] = []
    for argument in arguments:
        if argument == STANDARD_STREAM:
            sources["", ""] = Source(None, alone=len(arguments) == 1)
            continue
        paths = _expand(argument, is_image)
        alone = len(arguments) == len(paths) == 1
        if not paths:
            problems.append((argument, _why_missing(argument)))
        for path in paths:
            if path.is_dir():
                files = _walk(path, recursive, is_image, leave_out, problems)
                found = [Source(file, folder=path, alone=alone) for file in files]
            else:
                found = [Source(path, alone=alone)]
            for source in found:
                sources.setdefault(_source_key(source), source)
    if not sources:
        raise UsageError("\n".join(f"{name}: {reason}" for name, reason in problems[:_NAMED_AT_MOST]))
    return Found(tuple(sources.values()), tuple(problems))


def _source_key(source: Source) -> tuple[str, str]:
    """Equal where one file was named twice; a file found below a folder counts beside the same one named by itself."""
    path = source.path or Path()
    folder = "" if source.folder is None else os.path.realpath(source.folder)
    return os.path.join(os.path.realpath(path.parent), path.name), folder  # noqa: PTH118 - realpath works on text


def _expand(argument: str, is_image: Callable[[str], bool]) -> list[Path]:
    """The paths an argument stands for; empty if there are none. Shells that do not expand globs hand them to us."""
    if not argument:
        return []
    if os.path.lexists(argument):
        return [Path(argument)]
    # Path.glob takes no absolute patterns, and knows nothing of a pattern's leading folders.
    matches = sorted(glob.glob(argument, recursive=True)) if glob.has_magic(argument) else []  # noqa: PTH207
    return [Path(match) for match in matches if is_image(match) or Path(match).is_dir()]


def _why_missing(argument: str) -> str:
    if not argument:
        return "an empty name is no input"
    return "no file matches" if glob.has_magic(argument) else "no such file or folder"


def _walk(
    folder: Path,
    recursive: bool,
    is_image: Callable[[str], bool],
    leave_out: Path | None,
    problems: list[tuple[str, str]],
) -> list[Path]:
    """Images in a folder, sorted; links to folders are not followed, so that a loop of links ends."""
    excluded = None if leave_out is None else os.path.realpath(leave_out)
    if excluded == os.path.realpath(folder):
        excluded = None  # results into the folder of the inputs: found, and then refused by name where they would clash

    def unreadable(error: OSError) -> None:
        problems.append((str(error.filename), error.strerror or "cannot be read"))

    found: list[Path] = []
    troubles = len(problems)
    for parent, folders, files in os.walk(folder, onerror=unreadable):
        found += (Path(parent, name) for name in sorted(files) if not name.startswith(".") and is_image(name))
        folders[:] = sorted(
            name
            for name in folders
            if recursive and not name.startswith(".") and os.path.realpath(Path(parent, name)) != excluded
        )
    if not found and len(problems) == troubles:
        problems.append(
            (str(folder), "no images in this folder" + ("" if recursive else "; --recursive descends into folders"))
        )
    return found


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
        suffix: what `name_suffix` says.
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
                "Standard input has no folder to write to: give --output FILE, or -o - for standard output."
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
        raise UsageError(f"{folder} has no name to derive another from: say where to write with --output FOLDER.")
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
        may_exist: whether targets that exist are taken care of (`--overwrite`, `--skip-existing`).

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
                    f"{target} is {owners[mark]} itself or linked to it, which this run reads: choose another --output."
                )
        if target.is_dir():
            raise UsageError(f"{target} is a folder, where a file is to be written: choose another --output.")
        if os.path.lexists(target):
            existing.append(target)
        else:
            _check_parent(target)
    if existing and not may_exist:
        verb = "exists" if len(existing) == 1 else "exist"
        raise UsageError(f"{listed(existing)} {verb} already: --overwrite replaces, --skip-existing leaves out.")


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
