"""Looks for the images that files, folders, globs and addresses stand for. Opens none."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mair_cli.errors import UsageError
from mair_cli.images.formats import FORMATS
from mair_cli.jobs.elsewhere import walk
from mair_cli.store.remote import Address, Place, is_address, looked_at, parse_place

RESULT = re.compile(
    r"(?P<stem>.+)_mair_(?:[a-z]*[0-9.]*|[0-9]+x[0-9]*)(?:_compare)?"
)  # see `Task.result_suffix` and `companion`

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
        """Images as they are listed; in the order of S3, which is that of the whole names. Raises UsageError."""
        found, troubles = False, len(self.problems)
        leave_out = self.leave_out if isinstance(self.leave_out, Address) else None
        images = walk(
            place,
            recursive=self.recursive,
            is_image=self.is_image,
            original_of=original_folder,
            leave_out=leave_out,
            notes=self,
        )
        try:
            for image in images:
                found = True
                yield image
        except OSError as error:
            raise UsageError(f"{place}: cannot be listed: {error.strerror or error}.") from error
        if not found and len(self.problems) == troubles:
            self._no_images(place)

    def ignore(self, file: Address) -> None:
        """See `elsewhere.Notes`. Of many files the first are remembered; the others are counted."""
        if len(self.ignored) < _REMEMBERED:
            self.ignored.append(file)
        else:
            self.more_ignored += 1

    def result(self, folder: Address) -> None:
        """See `elsewhere.Notes`."""
        self.results.append(folder)

    def unentered(self, folder: Address) -> None:
        """See `elsewhere.Notes`."""
        self.folders.append(folder)

    def unsafe(self, file: Address) -> None:
        """See `elsewhere.Notes`."""
        self.problems.append((str(file), "a name with empty parts or dots is not mirrored"))

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
