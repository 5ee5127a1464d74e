"""`mair serve` as a program: it says where, answers, and ends by Ctrl-C with nothing left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from calling import mair

pytest.importorskip("uvicorn")


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_it_answers_until_ctrl_c_and_leaves_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "MAIR_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "mair_cli", "serve", "--port", "0"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        line = server.stderr.readline()
        assert line.endswith("(Ctrl-C ends it)\n")
        assert "Restore photographs" in requests.get(line.split()[0], timeout=20).text
        requests.post(f"{line.split()[0]}api/orders", data=b"no picture", timeout=20)
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 130
        assert server.stderr.read() == "interrupted\n"
    assert list(tmp_path.iterdir()) == []


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ran = mair("serve")
    assert ran.code == 2
    assert 'pip install "mair-cli[serve]"' in ran.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "no.such.host.invalid"], "--host no.such.host.invalid"),
        (["--device", "toaster"], "toaster"),
        (["--tile", "3"], "--tile 3"),
        (["--backend", "abacus"], "abacus"),
    ],
)
def test_what_cannot_work_is_said_before_listening(options: list[str], words: str) -> None:
    ran = mair("serve", "--port", "0", *options)
    assert ran.code == 2
    assert words in ran.err
