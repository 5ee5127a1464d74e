"""The images in a folder elsewhere, from one listing: by the rules of `naming` for folders here."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from mair_cli.store.remote import Address

_UNSAFE = {"", ".", ".."}  # parts of keys that would lead out of the folder to which results are mirrored


@dataclass
class Walked:
    """Images, and what was not taken; see `naming.Found`."""

    images: list[Address] = field(default_factory=list)
    ignored: list[Address] = field(default_factory=list)
    results: list[Address] = field(default_factory=list)
    folders: list[Address] = field(default_factory=list)
    unsafe: list[Address] = field(default_factory=list)


def walk(
    folder: Address,
    *,
    recursive: bool,
    is_image: Callable[[str], bool],
    original_of: Callable[[str], str | None],
    leave_out: Address | None,
) -> Walked:
    """Look through a folder.

    Args:
        folder: where.
        recursive: whether to descend; it is one listing either way.
        is_image: tells it by a file's name.
        original_of: the name of the folder whose results one of this name holds, if it is named like such.
        leave_out: folder of results.

    Raises:
        OSError: it cannot be listed.
    """
    files, folders = folder.find(recursive=recursive)
    walked = Walked(folders=[Address(each.url.rstrip("/")) for each in folders if not each.name.startswith(".")])
    parents = {str(parent) for file in files for parent in file.relative_to(folder).parents}

    def made(way: PurePosixPath) -> PurePosixPath | None:
        """The folder of results in which a file lies."""
        for parent in way.parents:
            original = original_of(parent.name)
            if original is not None and str(parent.with_name(original)) in parents:
                return parent
        return None

    results: dict[Address, None] = {}
    for file in files:
        parts = file.url.removeprefix(folder.url + "/").split("/")
        if _UNSAFE.intersection(parts) or (os.sep != "/" and any(os.sep in part for part in parts)):
            walked.unsafe.append(file)
        elif any(part.startswith(".") for part in parts) or _lies_in(file, leave_out, folder):
            continue
        elif (place := made(PurePosixPath(*parts))) is not None:
            results[folder / place] = None
        else:
            (walked.images if is_image(file.name) else walked.ignored).append(file)
    walked.results = list(results)
    return walked


def _lies_in(file: Address, leave_out: Address | None, folder: Address) -> bool:
    # Results into the folder of the inputs are refused by name where they would clash.
    return leave_out is not None and leave_out != folder and file.url.startswith(leave_out.url + "/")
