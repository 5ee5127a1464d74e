"""Ctrl-C, kill and closed pipes, on the real program in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from calling import files, photo, settle, start

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="signals of POSIX"),
    pytest.mark.skipif(signal.getsignal(signal.SIGINT) == signal.SIG_IGN, reason="this run ignores interruptions"),
]


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(tmp_path, monkeypatch)
    monkeypatch.delenv("MAIR_DEBUG")


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
    ],
)
def test_a_signal_in_the_middle_of_an_image_ends_without_a_trace(number: signal.Signals, code: int) -> None:
    photo("large.png", 300, 300)
    process = start("upscale", "large.png", "--tile", "32")
    assert process.stderr is not None
    assert "back end" in process.stderr.readline()  # weights are loaded, the first tile begins
    time.sleep(0.3)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert (out, "Traceback" in err, "interrupted" in err) == ("", False, True)
    assert files() == {"large.png"}


@pytest.mark.slow
@pytest.mark.parametrize("tenths", range(1, 40, 3))
def test_a_signal_at_any_other_moment_too(tenths: int) -> None:
    photo("large.png", 200, 200)
    process = start("upscale", "large.png", "--tile", "32")
    time.sleep(tenths / 10)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in err) == (130, False)
    assert files() == {"large.png"}


def test_a_reader_that_has_had_enough_is_no_defect() -> None:
    for index in range(3):
        photo(f"d/{index}.png", 5, 4)
    process = start("upscale", "d", "--json")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    assert process.wait(timeout=60) == 1
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def test_nothing_is_left_for_a_closed_standard_error() -> None:
    photo("a.png", 5, 4)
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-m", "mair_cli", "upscale", "gone.png"], stderr=writer, check=False)
    os.close(writer)
    assert done.returncode in (1, 2)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_standard_output_is_an_error_of_one_line() -> None:
    photo("a.png", 5, 4)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mair_cli", "upscale", "a.png", "-o", "-", "-q"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: a.png: ")
    assert done.stderr.count("\n") == 1


def test_closed_standard_streams_do_no_harm() -> None:
    """The result must not get the number of a closed stream, or C libraries would write into it."""
    photo("a.png", 5, 4)
    command = f"exec '{sys.executable}' -m mair_cli upscale a.png <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 0
    assert files() == {"a.png", "a_mair_x4.png"}


def test_the_version_and_an_unknown_command() -> None:
    shown = subprocess.run([sys.executable, "-m", "mair_cli", "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("mair ")
    wrong = subprocess.run([sys.executable, "-m", "mair_cli", "upscail"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "upscale" in wrong.stderr
