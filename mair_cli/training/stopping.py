"""Stopping a run so that nothing is lost: by signal or by the clock, always between two steps."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Says when to stop: after SIGINT (Ctrl-C) or SIGTERM, or when the time is up.

    Args:
        after_seconds: time from now on; None never stops by the clock.
    """

    def __init__(self, after_seconds: float | None = None) -> None:
        self.interrupted = False
        self._end = None if after_seconds is None else time.monotonic() + after_seconds

    @property
    def due(self) -> bool:
        """Whether the run should save and leave now."""
        return self.interrupted or (self._end is not None and time.monotonic() >= self._end)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Turn the first SIGINT or SIGTERM into a request; a second one interrupts at once, as usual."""
        if threading.current_thread() is not threading.main_thread():
            yield  # Python allows signal handlers in the main thread only
            return
        before = {number: signal.signal(number, self._request) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
