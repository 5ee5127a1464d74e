"""The images in a folder elsewhere, from one listing as it comes in: by the rules of `naming` for folders here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Protocol

from mair_cli.store.remote import Address

_UNSAFE = {"", ".", ".."}  # parts of keys that would lead out of the folder to which results are mirrored


class Notes(Protocol):
    """Hears of what is not taken; see `naming.Found`."""

    def ignore(self, file: Address) -> None:
        """It is no image by its name."""

    def result(self, folder: Address) -> None:
        """It holds results of an earlier run."""

    def unentered(self, folder: Address) -> None:
        """Nobody asked to descend."""

    def unsafe(self, file: Address) -> None:
        """Its name would lead out of the folder to which results are mirrored."""


def walk(
    folder: Address,
    *,
    recursive: bool,
    is_image: Callable[[str], bool],
    original_of: Callable[[str], str | None],
    leave_out: Address | None,
    notes: Notes,
) -> Iterator[Address]:
    """The images in a folder, as they are listed. What is held of it grows with its folders, not with its files.

    Args:
        folder: where.
        recursive: whether to descend; it is one listing either way.
        is_image: tells it by a file's name.
        original_of: the name of the folder whose results one of this name holds, if it is named like such.
        leave_out: folder of results.
        notes: hears of the rest.

    Raises:
        OSError: it cannot be listed; while iterating.
    """
    parents: set[str] = set()
    results: set[PurePosixPath] = set()

    def made(way: PurePosixPath) -> PurePosixPath | None:
        """The folder of results in which a file lies; its original has been listed before it."""
        for parent in way.parents:
            original = original_of(parent.name)
            if original is not None and str(parent.with_name(original)) in parents:
                return parent
        return None

    def left(below: Address) -> None:
        if not below.name.startswith("."):
            notes.unentered(below)

    for file in folder.files(recursive=recursive, folders=left):
        parts = file.url.removeprefix(folder.url + "/").split("/")
        if _UNSAFE.intersection(parts) or (os.sep != "/" and any(os.sep in part for part in parts)):
            notes.unsafe(file)
            continue
        way = PurePosixPath(*parts)
        parents.update(map(str, way.parents))
        if any(part.startswith(".") for part in parts) or _lies_in(file, leave_out, folder):
            continue
        place = made(way)
        if place is not None and place not in results:
            results.add(place)
            notes.result(folder / place)
        if place is None and is_image(file.name):
            yield file
        elif place is None:
            notes.ignore(file)


def _lies_in(file: Address, leave_out: Address | None, folder: Address) -> bool:
    # Results into the folder of the inputs are refused by name where they would clash.
    return leave_out is not None and leave_out != folder and file.url.startswith(leave_out.url + "/")
