"""Which files are meant, and what their results are called: decided for a whole run before any work is done.

Nothing here opens an image. Two results never get one name, and no result replaces an input.
"""

from __future__ import annotations

import glob
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
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
        several: whether the user named more inputs than this one file or folder.
    """

    path: Path | None
    folder: Path | None = None
    several: bool = False

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
    sources: dict[str, Source] = {}
    problems: list[tuple[str, str]] = []
    for argument in arguments:
        if argument == STANDARD_STREAM:
            sources[STANDARD_STREAM] = Source(None, several=len(arguments) > 1)
            continue
        paths = _expand(argument)
        several = len(arguments) > 1 or len(paths) > 1
        if not paths:
            problems.append((argument, _why_missing(argument)))
        for path in paths:
            if path.is_dir():
                walked = _walk(path, recursive, is_image, leave_out, problems)
                for file in walked:
                    sources.setdefault(str(file), Source(file, folder=path, several=several))
            else:
                sources.setdefault(str(path), Source(path, several=several))
    if not sources:
        raise UsageError("\n".join(f"{name}: {reason}" for name, reason in problems[:_NAMED_AT_MOST]))
    return Found(tuple(sources.values()), tuple(problems))


def _expand(argument: str) -> list[Path]:
    """The paths an argument stands for; empty if there are none. Shells that do not expand globs hand them to us."""
    if not argument:
        return []
    if os.path.lexists(argument) or not glob.has_magic(argument):
        return [Path(argument)] if os.path.lexists(argument) else []
    return [Path(match) for match in sorted(glob.glob(argument, recursive=True))]


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

    def unreadable(error: OSError) -> None:
        problems.append((str(error.filename), error.strerror or "cannot be read"))

    found: list[Path] = []
    troubles = len(problems)
    for parent, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(
            name
            for name in folders
            if recursive and not name.startswith(".") and os.path.realpath(Path(parent, name)) != excluded
        )
        if os.path.realpath(parent) != excluded:
            found += (Path(parent, name) for name in sorted(files) if not name.startswith(".") and is_image(name))
    if not found and len(problems) == troubles:
        problems.append((str(folder), "no images in this folder" + ("" if recursive else "; --recursive descends into folders")))
    return found


def place(
    sources: Sequence[Source],
    extensions: Sequence[str],
    *,
    output: Path | None,
    suffix: str,
) -> list[Path]:
    """Where each result goes. Results that would share a name get the input's extension into it (`x_jpg`, `x_png`).

    Args:
        sources: what is restored.
        extensions: for each, the extension of its result, with the dot.
        output: what the user named: a file for one input that is a file, else a folder; None puts results beside.
        suffix: what `name_suffix` says.

    Returns:
        A path for each source, in order; they differ even where capitals do not count.

    Raises:
        UsageError: two results would still share a name, or `output` does not suit the inputs.
    """
    _check_output(sources, output)

    def spot(index: int, tag: str) -> Path:
        return _spot(sources[index], extensions[index], output, suffix, tag)

    plain = [spot(index, "") for index in range(len(sources))]
    taken = Counter(map(path_key, plain))
    places = [
        path if taken[path_key(path)] == 1 else spot(index, _tag(sources[index])) for index, path in enumerate(plain)
    ]
    _refuse_clashes([source.name for source in sources], places)
    return places


def _tag(source: Source) -> str:
    return "" if source.path is None else source.path.suffix.replace(".", "_")


def _spot(source: Source, extension: str, output: Path | None, suffix: str, tag: str) -> Path:
    if source.folder is not None:
        if output is None:
            whole = Path(os.path.abspath(source.folder))  # a folder given as `.` or `..` has a name only so
            if not whole.name:
                raise UsageError(f"{source.folder} has no name to derive another from: say where to write with --output.")
            root = whole.with_name(whole.name + suffix)
            if not source.folder.is_absolute() and source.folder.name not in ("", ".."):
                root = source.folder.with_name(source.folder.name + suffix)
        else:
            root = output / Path(os.path.abspath(source.folder)).name if source.several else output
        return root / source.within.with_name(source.within.stem + tag + extension)
    if output is not None and not source.several and not is_folder(output):
        return output
    if output is None and source.path is None:
        raise UsageError("Standard input has no folder: say where to write with --output FILE, or -o - for standard output.")
    parent = output if output is not None or source.path is None else source.path.parent
    return (parent or Path()) / f"{source.within.stem}{tag}{suffix}{extension}"


def is_folder(output: Path) -> bool:
    """Whether an output named by the user is an existing folder."""
    return output.is_dir()


def _check_output(sources: Sequence[Source], output: Path | None) -> None:
    if output is None:
        return
    wants_folder = any(source.several or source.folder is not None for source in sources)
    if wants_folder and output.exists() and not output.is_dir():
        raise UsageError(f"--output {output}: several inputs, or a folder, need a folder to write to, and this is a file.")


def companion(destination: Path) -> Path:
    """Name of the side-by-side picture that goes with a result."""
    return destination.with_name(f"{destination.stem}_compare.png")


def path_key(path: Path) -> str:
    """Equal for two paths that may name one file: through linked folders, other capitals, or composed accents."""
    real = os.path.join(os.path.realpath(path.parent), path.name)  # noqa: PTH118 - realpath works on text
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", real).casefold())


def _refuse_clashes(names: Sequence[str], places: Sequence[Path]) -> None:
    first: dict[str, str] = {}
    for name, target in zip(names, places, strict=True):
        other = first.setdefault(path_key(target), name)
        if other != name:
            raise UsageError(f"{other} and {name} would both be written to {target}: restore them in two runs.")


def check_targets(
    targets: Iterable[tuple[str, Path]], *, protected: Collection[Path], may_exist: bool
) -> None:
    """Refuse a run that would destroy something or could not write.

    Args:
        targets: every file to be written, each with the name of the input it comes from.
        protected: files that must survive: inputs, ground truth, weights.
        may_exist: whether targets that exist are taken care of (`--overwrite`, `--skip-existing`).

    Raises:
        UsageError: two targets share a name; a target is a protected file, also through a link or another name; a target
            exists; or it cannot be written where it should be.
    """
    pairs = list(targets)
    _refuse_clashes([name for name, _ in pairs], [path for _, path in pairs])
    identities = {identity: path for path in protected for identity in _identity(path)}
    keys = {path_key(path): path for path in protected}
    existing = []
    for _, target in pairs:
        for same in (*(identities.get(identity) for identity in _identity(target)), keys.get(path_key(target))):
            if same is not None:
                raise UsageError(f"{target} is the input {same} itself, or linked to it: choose another --output.")
        if target.is_dir():
            raise UsageError(f"{target} is a folder, and would have to be replaced by a file: choose another --output.")
        if os.path.lexists(target):
            existing.append(target)
        else:
            _check_parent(target)
    if existing and not may_exist:
        raise UsageError(f"{listed(existing)} exist{'s' if len(existing) == 1 else ''} already: "
                         "--overwrite replaces, --skip-existing leaves out.")


def _identity(path: Path) -> Iterator[tuple[int, int]]:
    """Device and number of the file, links followed: what all its names share. Nothing for a file that is not there."""
    try:
        status = path.stat()
    except OSError:
        return
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
