"""Stopping a run so that nothing is lost: by signal or by the clock, always between two steps."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# `torchrun` passes on a Ctrl-C that the terminal has sent to its processes already: that is one request, not two.
SAME_REQUEST_SECONDS = 1.0

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # SIGHUP, a closed terminal, is unknown on Windows


class StopRequest:
    """Says when to stop: after Ctrl-C, `kill` or a closed terminal, or when the time is up.

    Args:
        after_seconds: time from now on; None never stops by the clock.

    Attributes:
        signal: number of the signal that came, or None.
    """

    def __init__(self, after_seconds: float | None = None) -> None:
        self.signal: int | None = None
        self._since = 0.0
        self._end = None if after_seconds is None else time.monotonic() + after_seconds

    @property
    def due(self) -> bool:
        """Whether the run should save and leave now."""
        return self.signal is not None or (self._end is not None and time.monotonic() >= self._end)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Turn the first signal into a request; another one, a second later, interrupts at once.

        Ignored signals stay ignored.
        """
        if threading.current_thread() is not threading.main_thread():
            yield  # Python allows signal handlers in the main thread only
            return
        numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
        before = {number: signal.getsignal(number) for number in numbers}
        for number, handler in before.items():
            if handler != signal.SIG_IGN:
                signal.signal(number, self._request)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal, self._since = number, time.monotonic()
        elif time.monotonic() - self._since > SAME_REQUEST_SECONDS:
            raise KeyboardInterrupt
