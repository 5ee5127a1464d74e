"""Looks for the images that files, folders, globs and addresses stand for. Opens none."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mair_cli.errors import UsageError
from mair_cli.images.formats import FORMATS
from mair_cli.store.remote import Address, Place, is_address, looked_at, parse_place

RESULT = re.compile(
    r"(?P<stem>.+)_mair_(?:[a-z]*[0-9.]*|[0-9]+x[0-9]*)(?:_compare)?"
)  # see `Task.result_suffix` and `companion`

_UNSAFE = {"", ".", ".."}  # parts of keys that would lead out of the folder to which results are mirrored
_REMEMBERED = 1000  # files elsewhere that are no images

_TAG = re.compile(r"(?P<stem>.+)_[a-z0-9]{2,5}", re.IGNORECASE)


@dataclass
class Search:
    """Looks for images, and notes what it did not take. See `naming.collect` and `naming.Found`."""

    recursive: bool
    is_image: Callable[[str], bool]
    leave_out: Place | None
    problems: list[tuple[str, str]] = field(default_factory=list)
    ignored: list[Place] = field(default_factory=list)
    more_ignored: int = 0
    results: list[Place] = field(default_factory=list)
    folders: list[Place] = field(default_factory=list)
    _kinds: dict[Address, str] = field(default_factory=dict)

    def expand(self, argument: str) -> Sequence[Place]:
        """The places an argument stands for. Shells that do not expand globs hand them to us."""
        if is_address(argument):
            return self._expand_address(parse_place(argument))
        argument = str(parse_place(argument)) if argument else argument
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

    def _expand_address(self, place: Place) -> list[Place]:
        """The address, if there is something; its last part may be a pattern. Raises UsageError."""
        assert isinstance(place, Address)
        with looked_at():
            kind = place.kind()
            if kind is not None:
                self._kinds[place] = kind
                return [place]
            if not glob.has_magic(place.name):
                self.problems.append((str(place), "no such file or folder"))
                return []
            files, _ = place.parent.find(recursive=False)
        matches = [file for file in files if fnmatch.fnmatchcase(file.name, place.name) and self.is_image(file.name)]
        if not matches:
            self.problems.append((str(place), "no image matches"))
        return list(matches)

    def within(self, place: Place) -> Iterable[Place] | None:
        """Images in a folder; None for what is none. Raises UsageError."""
        if not isinstance(place, Address):
            return self.walk(place) if place.is_dir() else None
        if self._kinds.get(place) != "folder":
            return None
        return self._walk_elsewhere(place)

    def _walk_elsewhere(self, place: Address) -> Iterator[Place]:
        """Images as they are listed; in the order of S3, which is that of the whole names. Raises UsageError.

        By the rules of `walk`, from one listing as it comes in: what is held grows with folders, not with files.
        """
        found, troubles = False, len(self.problems)
        tree = _Tree(place, self.leave_out if isinstance(self.leave_out, Address) else None)
        try:
            for file in place.files(recursive=self.recursive, folders=self._left):
                if not tree.is_safe(file):
                    self.problems.append((str(file), "a name with empty parts or dots is not mirrored"))
                elif tree.counts(file) and not self._is_made(tree, file):
                    if self.is_image(file.name):
                        found = True
                        yield file
                    else:
                        self._ignore(file)
        except OSError as error:
            raise UsageError(f"{place}: cannot be listed: {error.strerror or error}.") from error
        if not found and len(self.problems) == troubles:
            self._no_images(place)

    def _left(self, folder: Address) -> None:
        if not folder.name.startswith("."):
            self.folders.append(folder)

    def _is_made(self, tree: _Tree, file: Address) -> bool:
        """Whether a file lies in a folder of results, which is noted once."""
        made = tree.results_around(file)
        if made is not None and made not in tree.noted:
            tree.noted.add(made)
            self.results.append(made)
        return made is not None

    def _ignore(self, file: Address) -> None:
        """Of many files the first are remembered; the others are counted."""
        if len(self.ignored) < _REMEMBERED:
            self.ignored.append(file)
        else:
            self.more_ignored += 1

    def _no_images(self, folder: Place) -> None:
        hint = "" if self.recursive else "; `recursive` descends into folders"
        self.problems.append((str(folder), f"no images in this folder{hint}"))

    def walk(self, folder: Path) -> list[Path]:
        """Images in a folder, sorted; links to folders are not followed, so that a loop of links ends."""
        excluded = os.path.realpath(self.leave_out) if isinstance(self.leave_out, Path) else None
        if excluded == os.path.realpath(folder):
            excluded = None  # results into the folder of the inputs: refused by name where they would clash
        found: list[Path] = []
        troubles = len(self.problems)
        for parent, folders, names in os.walk(folder, onerror=self._unreadable):
            files = [Path(parent, name) for name in sorted(names) if not name.startswith(".")]
            found += (file for file in files if self.is_image(file.name))
            self.ignored += (file for file in files if not self.is_image(file.name))
            made = [name for name in folders if original_folder(name) in folders]
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
            self._no_images(folder)
        return found

    def _unreadable(self, error: OSError) -> None:
        self.problems.append((str(error.filename), error.strerror or "cannot be read"))


class _Tree:
    """The folders of a tree elsewhere, as far as its listing has come."""

    def __init__(self, top: Address, leave_out: Address | None) -> None:
        self._top, self._leave_out = top, leave_out
        self._parents: set[str] = set()
        self.noted: set[Address] = set()

    def _parts(self, file: Address) -> list[str]:
        return file.url.removeprefix(self._top.url + "/").split("/")

    def is_safe(self, file: Address) -> bool:
        """Whether results can be mirrored under its name, which leads out of no folder."""
        parts = self._parts(file)
        return not (_UNSAFE.intersection(parts) or (os.sep != "/" and any(os.sep in part for part in parts)))

    def counts(self, file: Address) -> bool:
        """Whether it is neither hidden nor in the folder of results; its folders are known from here on."""
        parts, without = self._parts(file), self._leave_out
        self._parents.update(map(str, PurePosixPath(*parts).parents))
        # Results into the folder of the inputs are refused by name where they would clash.
        left_out = without is not None and without != self._top and file.url.startswith(without.url + "/")
        return not left_out and not any(part.startswith(".") for part in parts)

    def results_around(self, file: Address) -> Address | None:
        """The folder of results in which it lies; its original has been listed before it."""
        for parent in PurePosixPath(*self._parts(file)).parents:
            original = original_folder(parent.name)
            if original is not None and str(parent.with_name(original)) in self._parents:
                return self._top / parent
        return None


def original_folder(name: str) -> str | None:
    """The name of the folder whose results one of this name holds, if it is named like such."""
    named = RESULT.fullmatch(name)
    return named["stem"] if named else None


def base_name(path: Place) -> str:
    """What the names of an input and of all its results have in common, whatever else they may have.

    Only files of one base can be result and original of each other (`photo.jpg`, `photo_jpg_mair_x4.png`), or have
    results that would share a name.
    """
    stem = path.stem
    while True:
        named, tagged = RESULT.fullmatch(stem), _TAG.fullmatch(stem)
        if named is not None:
            stem = named["stem"]
        elif stem.endswith("_compare") and stem != "_compare":
            stem = stem.removesuffix("_compare")
        elif tagged is not None and "." + stem.rpartition("_")[2].lower() in FORMATS:
            stem = tagged["stem"]
        else:
            return stem
