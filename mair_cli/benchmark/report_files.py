"""Files of reports: what may be written where, decided before anything is measured.

A report replaces an earlier report of its kind, which tells itself by how it begins, and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final, Literal

from mair_cli.errors import MairError, UsageError
from mair_cli.store.atomic import atomic_write

__all__ = ["ReportKind", "check_report_file", "write_report"]

ReportKind = Literal["html", "json", "csv", "markdown", "latex"]

_HEAD: Final = 512
_MARKS: Final[Mapping[ReportKind, tuple[bytes, bytes]]] = {
    "html": (b"<!doctype html>", b'<meta name="generator" content="mair-cli'),
    "json": (b"{", b'"generator": "mair-cli'),
    "markdown": (b"<!-- mair-cli", b"\n**"),
    "latex": (b"% mair-cli", b"\\begin{tabular}"),
    "csv": (b"dataset,task,image,method,", b",psnr_y,ssim_y,psnr_rgb,ssim_rgb,"),
}
"""How a report of ours begins, and what stands near its beginning."""


def check_report_file(path: Path, kind: ReportKind, inputs: Collection[Path] = ()) -> None:
    """Make sure that a report can be written and would destroy nothing.

    Args:
        path: of the report; an empty file may be replaced like an earlier report.
        kind: what will be written.
        inputs: files that the run reads, by whatever name or link.

    Raises:
        UsageError: `path` is an input, or exists and is no earlier report of this kind, or its folder cannot hold it.
    """
    try:
        refuse_input(path, inputs)
        if path.exists():
            if not path.is_file() or not _is_report(path, kind):
                raise UsageError(
                    f"{path} exists and is no {kind.upper()} report of mair-cli: it is not overwritten. "
                    "Choose another name, or delete it."
                )
        else:
            _check_folder(path)
    except OSError as error:
        raise UsageError(f"{path}: no report can be written there ({error.strerror})") from error


def refuse_input(path: Path, inputs: Collection[Path]) -> None:
    """Raise UsageError where `path` is one of the files that the run reads, by whatever name or link."""
    if path.exists() and any(source.exists() and path.samefile(source) for source in inputs):
        raise UsageError(f"{path} is an input of this run: it is not overwritten. Choose another name.")


def _check_folder(path: Path) -> None:
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"{path}: no report can be written there ({folder} is no folder one may write to)")


def _is_report(path: Path, kind: ReportKind) -> bool:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    opening, mark = _MARKS[kind]
    return not head or (head.startswith(opening) and mark in head)


def write_report(path: Path, text: str) -> None:
    """Write a report under a temporary name and rename it: a half-written report never exists.

    A link stays a link. What UTF-8 cannot hold, the undecodable bytes of a file's name, is written as `\\udcff`; in
    JSON, reading gives the same text again.

    Raises:
        MairError: the file cannot be written.
    """
    try:
        with atomic_write(path) as file:
            file.write(text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise MairError(f"{path}: the report cannot be written ({error.strerror})") from error
