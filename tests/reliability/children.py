"""Runs `mair` in a forked child, so that hundreds of runs cost one start: killed, starved of memory, or with faults.

What a child may never do, however it ends: show a traceback, call it a defect, crash, or hang.
"""

from __future__ import annotations

import errno
import faulthandler
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a child does not inherit its parent's threads

import numpy as np

import mair_cli.benchmark.html
import mair_cli.benchmark.runs
import mair_cli.jobs.batch
import mair_cli.restore.restorer
import mair_cli.training.loop
import mair_cli.weights.fetch  # noqa: F401 - what children need is imported once
from mair_cli.cli.app import main
from mair_cli.store import atomic

LONGEST = 180.0
_DISK_ERRORS = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code (negative: killed by that signal), what it wrote to stderr, and seconds."""

    code: int
    err: str
    seconds: float

    def faults(self, *codes: int) -> list[str]:
        """What is wrong with it, beside which only exit codes among `codes` are right."""
        found = [word for word in ("Traceback", "This is a defect", "Fatal Python error") if word in self.err]
        return found + ([] if self.code in codes else [f"exit code {self.code}: {self.err[-300:]}"])


@dataclass(frozen=True)
class Kill:
    """A signal and when it comes, in seconds."""

    number: int
    after: float


def start(folder: Path, *words: object, before: Callable[[], None] | None = None) -> tuple[int, Path]:
    """Begin `mair WORDS` in `folder`; its process number, and the file of what it writes to stderr."""
    log = folder.parent / f"{folder.name}-{time.monotonic_ns()}.err"
    child = os.fork()
    if child:
        return child, log
    code = 99
    try:
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(os.open(log.with_suffix(".out"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        faulthandler.dump_traceback_later(LONGEST - 10)
        if before is not None:
            before()
        sys.argv = ["mair", *map(str, words)]
        code = main()
    except KeyboardInterrupt:
        code = 130 if sys.argv[0] != "mair" else 97  # before `main`, or out of it, which must not be
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(code)


def wait(child: int, log: Path, kill: Kill | None = None) -> Ended:
    """Wait for a child, and kill it when its time has come."""
    began = time.monotonic()
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        seconds = time.monotonic() - began
        if done:
            return Ended(os.waitstatus_to_exitcode(status), log.read_text(errors="replace"), seconds)
        if kill is not None and seconds >= kill.after:
            os.kill(child, kill.number)
            kill = None
        if seconds > LONGEST:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return Ended(-99, f"hung: {log.read_text(errors='replace')}", seconds)
        time.sleep(0.002)


def mair(folder: Path, *words: object, kill: Kill | None = None, before: Callable[[], None] | None = None) -> Ended:
    """Run `mair WORDS` in `folder` to its end, or until it is killed."""
    return wait(*start(folder, *words, before=before), kill)


def limit_memory(mebibytes: int) -> Callable[[], None]:
    """Allows a child so much more memory than it has when it begins."""

    def limit() -> None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + (mebibytes << 20),) * 2)

    return limit


def failing_disk(seed: int) -> Callable[[], None]:
    """Makes the disk fail in a child, from a random call of one kind on: flushing, naming, making or writing a file."""

    def fail() -> None:
        rng = np.random.default_rng(seed)
        name = ("fsync", "replace", "open", "write")[int(rng.integers(4))]
        left, number = int(rng.integers(0, 6)), int(rng.choice(_DISK_ERRORS))

        def failing(original: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object, **more: object) -> object:
                nonlocal left
                left -= 1
                if left < 0:
                    raise OSError(number, os.strerror(number), str(arguments[0])[:80])
                return original(*arguments, **more)

            return call

        if name == "replace":
            Path.replace = failing(Path.replace)  # type: ignore[method-assign,assignment]
        elif name == "write":
            _fail_while_writing(int(rng.integers(1, 5000)))
        elif name == "open":
            atomic.os.open = failing(os.open)  # type: ignore[attr-defined]
        else:
            atomic.os.fsync = failing(os.fsync)  # type: ignore[attr-defined]

    return fail


def _fail_while_writing(room: int) -> None:
    """Files take so many bytes and no more, once the first is made."""
    original = os.open

    def opened(*arguments: object) -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))  # the kernel then says EFBIG
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        return original(*arguments)  # type: ignore[arg-type]

    atomic.os.open = opened  # type: ignore[attr-defined]
