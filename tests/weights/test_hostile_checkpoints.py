"""No file, however made, runs code, loads as weights without being right, takes ages, or ends in a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hostile_files import HOSTILE


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process of its own saw, since an audit hook can never be taken off again."""
    folder = tmp_path_factory.mktemp("hostile") / "files"
    folder.mkdir()
    script = Path(__file__).with_name("hostile_files.py")
    command = [sys.executable, "-W", "ignore", str(script), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 100


def test_no_code_ran(report: dict[str, Any]) -> None:
    assert report["touched"] == []
    assert report["noticed"] == []


def test_no_file_takes_much_memory(report: dict[str, Any]) -> None:
    assert report["mebibytes"] < 300


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused_in_plain_words(name: str, report: dict[str, Any]) -> None:
    end = report["ends"][name]
    assert not end.startswith(("LOADED", "TRACEBACK")), end
    assert f"{name}.pth" in end
    assert len(end) < 600
    assert end.count("\n") <= 1
    assert float(report["seconds"][name]) < 20
