"""Signals that end the program: Ctrl-C, `kill` and a closed terminal unwind the stack, so nothing stays half done."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import TextIO

_ENDING = ("SIGTERM", "SIGHUP")  # SIGHUP is unknown on Windows


class Interruption(KeyboardInterrupt):
    """Raised for an ending signal.

    A subclass, because CPython remembers each plain KeyboardInterrupt that passes through an `exec`, as numba calls it,
    and ends the process by SIGINT for it in the end, even though the exception was caught.
    """


class _Received:
    """The last signal, kept because a library may swallow the exception that the handler raises."""

    number: int | None = None


def install() -> None:
    """Turn ending signals into `Interruption`; those that the caller ignores (`nohup`) stay ignored."""
    _Received.number = None
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    for name in _ENDING:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _interrupt)
    sys.unraisablehook = _report_unraisable


def _report_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Python prints what is raised where nobody can catch it, as in a callback of LLVM; an interruption is no news."""
    if not received():
        sys.__unraisablehook__(unraisable)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _Received.number = number
    raise Interruption


def check() -> None:
    """Raise `Interruption` if a signal came whose exception got lost; called between units of work."""
    if _Received.number is not None:
        raise Interruption


def end() -> None:
    """From here on nothing is left to interrupt; a signal that comes now would only spoil the exit code."""
    for name in ("SIGINT", *_ENDING):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is _interrupt:
            signal.signal(number, signal.SIG_IGN)


def received() -> bool:
    """Whether an ending signal came."""
    return _Received.number is not None


def exit_code() -> int:
    """128 + the signal's number, as shells report it: 130 for Ctrl-C."""
    return 128 + (signal.SIGINT if _Received.number is None else _Received.number)


def drop(stream: TextIO) -> None:
    """Send what a standard stream still holds for a closed pipe nowhere, lest the interpreter complain when it ends."""
    with suppress(OSError, ValueError):  # it may be no real file, as in tests
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
