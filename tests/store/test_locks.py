"""One holder at a time; a killed one lets go; a file system without locks stops nobody."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mair_cli.store.locks import exclusive

HOLDER = """
import pathlib, sys, time
from mair_cli.store.locks import exclusive
with exclusive(pathlib.Path(sys.argv[1])) as ours:
    print(ours, flush=True)
    time.sleep(60)
"""


def test_a_lock_excludes_others_until_its_holder_is_killed(tmp_path: Path) -> None:
    lock = tmp_path / "folder" / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(lock)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"True\n"
        began = time.monotonic()
        with exclusive(lock, wait=0.3) as ours:
            assert not ours
        assert time.monotonic() - began >= 0.3
        holder.kill()
        with exclusive(lock, wait=10) as ours:
            assert ours


def test_a_lock_is_free_again_after_its_block(tmp_path: Path) -> None:
    for _ in range(2):
        with exclusive(tmp_path / "lock") as ours:
            assert ours
            with exclusive(tmp_path / "lock") as inner:
                assert not inner


def test_a_file_system_without_locks_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with exclusive(tmp_path / "lock") as ours:
        assert ours


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with pytest.raises(OSError, match="plain"), exclusive(tmp_path / "plain" / "lock"):
        pass
