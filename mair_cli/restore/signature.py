"""What results carry so that they are known as such under any name: the program, its version, and the task."""

from __future__ import annotations

from dataclasses import replace

from mair_cli.images.picture import Animation, Picture
from mair_cli.version import __version__

__all__ = ["signed", "task_signed"]

_PROGRAM = "mair-cli"


def signed(result: Picture | Animation, task: str) -> Picture | Animation:
    """The result of a task with our signature in its metadata, such as `mair-cli 0.1.0, sr`."""
    if isinstance(result, Animation):
        first, *others = result.frames
        return replace(result, frames=[_signed(first, task), *others])
    return _signed(result, task)


def _signed(picture: Picture, task: str) -> Picture:
    return replace(picture, metadata=replace(picture.metadata, software=f"{_PROGRAM} {__version__}, {task}"))


def task_signed(software: str | None) -> str | None:
    """The task that a signature tells, of whatever version; None for what is none of ours."""
    program, _, task = (software or "").partition(", ")
    return task if program.startswith(f"{_PROGRAM} ") and task else None
