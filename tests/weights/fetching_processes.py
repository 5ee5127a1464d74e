"""Many processes that fetch at once, or are killed while they do: `python fetching_processes.py WHAT MIRROR COUNT`.

Processes are forked from one that has fetched already (into another cache) and so has imported everything: starting one
takes milliseconds, and a kill finds it at work rather than importing.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable

from published_files import small_entry

from mair_cli.errors import MairError
from mair_cli.weights.cache import weights_file
from mair_cli.weights.fetch import fetch, verify

ENTRY = small_entry()


def forked(work: Callable[[], None]) -> int:
    """Run `work` in a process of its own; it ends with 0, or 1 and a message."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except MairError as error:
        sys.stderr.write(f"{error}\n")
    finally:
        os._exit(code)


def ended_well(child: int) -> bool:
    return os.waitpid(child, 0)[1] == 0


def fetch_and_verify() -> None:
    fetch(ENTRY)
    verify(ENTRY)


def together(count: int) -> None:
    """All start at one moment."""
    moment = time.monotonic() + 0.3

    def work() -> None:
        time.sleep(max(0.0, moment - time.monotonic()))
        fetch_and_verify()

    children = [forked(work) for _ in range(count)]
    wrong = sum(not ended_well(child) for child in children)
    sys.exit(f"{wrong} of {count} failed" if wrong else 0)


def killed(count: int) -> None:
    """Kill one at a random moment, see that what is there is whole or absent, and that the next one works."""
    numbers = random.Random(5)
    began = time.monotonic()
    assert ended_well(forked(lambda: void(fetch(ENTRY))))
    usual = time.monotonic() - began
    interrupted = 0
    for _ in range(count):
        weights_file(ENTRY).unlink(missing_ok=True)
        child = forked(lambda: void(fetch(ENTRY)))
        time.sleep(numbers.uniform(0, usual))
        os.kill(child, signal.SIGKILL)
        if os.waitpid(child, 0)[1] != 0:
            interrupted += 1
        else:
            usual *= 0.8  # the first one was slow: the machine had other work
        if weights_file(ENTRY).exists():
            verify(ENTRY)
        assert ended_well(forked(fetch_and_verify)), "the run after a kill failed"
    print(interrupted)  # noqa: T201  (its answer to the test that runs it)


def void(_value: object) -> None:
    """Drop a value."""


if __name__ == "__main__":
    os.environ["MAIR_MIRROR"] = sys.argv[2]
    with tempfile.TemporaryDirectory() as elsewhere:
        real = os.environ["MAIR_CACHE_DIR"]
        os.environ["MAIR_CACHE_DIR"] = elsewhere
        fetch_and_verify()
        os.environ["MAIR_CACHE_DIR"] = real
    if sys.argv[1] == "together-unlocked":
        import fcntl

        fcntl.flock = lambda *_: None
    (killed if sys.argv[1] == "killed" else together)(int(sys.argv[3]))
