"""Looks for the images that files, folders, globs and addresses stand for. Opens none."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mair_cli.errors import UsageError
from mair_cli.jobs.elsewhere import walk
from mair_cli.store.remote import Address, Place, is_address, parse_place

RESULT = re.compile(
    r"(?P<stem>.+)_mair_(?:[a-z]*[0-9.]*|[0-9]+x[0-9]*)(?:_compare)?"
)  # see `Task.result_suffix` and `companion`


@dataclass
class Search:
    """Looks for images, and notes what it did not take. See `naming.collect` and `naming.Found`."""

    recursive: bool
    is_image: Callable[[str], bool]
    leave_out: Place | None
    problems: list[tuple[str, str]] = field(default_factory=list)
    ignored: list[Place] = field(default_factory=list)
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
        try:
            kind = place.kind()
            if kind is not None:
                self._kinds[place] = kind
                return [place]
            if not glob.has_magic(place.name):
                self.problems.append((str(place), "no such file or folder"))
                return []
            files, _ = place.parent.find(recursive=False)
        except OSError as error:
            raise UsageError(f"{error.filename or place}: {error.strerror or error}.") from error
        matches = [file for file in files if fnmatch.fnmatchcase(file.name, place.name) and self.is_image(file.name)]
        if not matches:
            self.problems.append((str(place), "no image matches"))
        return list(matches)

    def within(self, place: Place) -> Sequence[Place] | None:
        """Images in a folder; None for what is none. Raises UsageError."""
        if not isinstance(place, Address):
            return self.walk(place) if place.is_dir() else None
        if self._kinds.get(place) != "folder":
            return None
        try:
            walked = walk(
                place,
                recursive=self.recursive,
                is_image=self.is_image,
                original_of=original_folder,
                leave_out=self.leave_out if isinstance(self.leave_out, Address) else None,
            )
        except OSError as error:
            raise UsageError(f"{place}: cannot be listed: {error.strerror or error}.") from error
        self.ignored += walked.ignored
        self.results += walked.results
        self.folders += walked.folders
        self.problems += ((str(file), "a name with empty parts or dots is not mirrored") for file in walked.unsafe)
        if not walked.images and not walked.unsafe:
            self._no_images(place)
        return walked.images

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
