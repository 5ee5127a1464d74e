"""How far a picture is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with (tiles done, tiles in all)."""


def no_progress(done: int, total: int) -> None:
    """Told to nobody."""


def share(progress: Progress | None, index: int, count: int) -> Progress | None:
    """Progress of one frame, view or pass as part of all `count`."""
    if progress is None:
        return None
    return lambda done, total: progress(index * total + done, count * total)
