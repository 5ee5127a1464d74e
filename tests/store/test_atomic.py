"""A file is its old self or its new one, whatever ends the writer; and nothing of anybody else's is touched."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mair_cli.store import atomic
from mair_cli.store.atomic import atomic_write, temporary_file

GONE = 4_000_000  # a process number that Linux does not give
A_DAY_AGO = time.time() - 90_000


def write(target: Path, data: bytes = b"new", *, replace: bool = True) -> None:
    with atomic_write(target, replace=replace) as stream:
        stream.write(data)


@pytest.fixture
def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_new_file_and_its_folders_are_made_with_usual_permissions(tmp_path: Path, umask: int) -> None:
    target = tmp_path / "deep" / "er" / "file"
    write(target)
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask
    assert [path.name for path in target.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o400])
def test_an_existing_file_keeps_its_permissions_and_is_never_more_open_meanwhile(tmp_path: Path, mode: int) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    target.chmod(mode)
    with atomic_write(target) as stream:
        stream.write(b"new")
        (part,) = (path for path in tmp_path.iterdir() if path != target)
        assert stat.S_IMODE(part.stat().st_mode) == 0o600
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == mode


@pytest.mark.parametrize("trouble", [ValueError, KeyboardInterrupt, OSError])
def test_a_failure_leaves_the_previous_content_and_nothing_else(tmp_path: Path, trouble: type[BaseException]) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with pytest.raises(trouble), atomic_write(target) as stream:  # noqa: PT012
        stream.write(b"half")
        raise trouble
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_when_flushed_is_an_error(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", failing(number))
    with pytest.raises(OSError, match="failed on purpose"):
        write(target)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def failing(number: int) -> object:
    def fail(_: int) -> None:
        raise OSError(number, "failed on purpose")

    return fail


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_that_cannot_flush_does_not_cost_the_result(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", failing(number))
    write(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_link_stays_a_link_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    real, link = tmp_path / "real" / "file", tmp_path / "link"
    real.parent.mkdir()
    real.write_bytes(b"old")
    link.symlink_to(real)
    write(link)
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert list(real.parent.iterdir()) == [real]


def test_no_link_is_followed_that_waits_under_the_temporary_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    monkeypatch.setattr("secrets.token_hex", lambda _: "0" * 12)
    (tmp_path / f".mair-{os.getpid()}-{'0' * 12}.part").symlink_to(victim)
    with pytest.raises(FileExistsError):
        write(tmp_path / "file")
    assert victim.read_bytes() == b"precious"


def test_devices_pipes_and_folders_are_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for target in (tmp_path / "pipe", tmp_path / "folder", Path("/dev/null")):
        before = target.stat()
        with pytest.raises(OSError, match=r"directory|device or pipe"):
            write(target)
        assert os.path.samestat(before, target.stat())


@pytest.mark.parametrize("links", [True, False])
def test_of_writers_that_may_not_replace_the_first_wins(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "no links")))
    write(tmp_path / "file", b"first", replace=False)
    with pytest.raises(FileExistsError):
        write(tmp_path / "file", b"second", replace=False)
    assert (tmp_path / "file").read_bytes() == b"first"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_name_as_long_as_the_file_system_allows_can_be_written(tmp_path: Path) -> None:
    write(tmp_path / ("n" * 255))
    assert (tmp_path / ("n" * 255)).read_bytes() == b"new"


def test_a_temporary_file_is_private_and_goes(tmp_path: Path) -> None:
    with temporary_file(tmp_path / "new") as part:
        assert stat.S_IMODE(part.stat().st_mode) == 0o600
        assert part.read_bytes() == b""
    assert list((tmp_path / "new").iterdir()) == []


def aged(path: Path) -> Path:
    path.write_bytes(b"left")
    os.utime(path, (A_DAY_AGO, A_DAY_AGO))
    return path


def test_only_old_files_of_ours_whose_process_is_gone_are_cleaned(tmp_path: Path) -> None:
    kept = [
        aged(tmp_path / ".download.part"),
        aged(tmp_path / ".file.123-abcd.part"),
        aged(tmp_path / ".state.pt.123.tmp"),
        aged(tmp_path / f".mair-{GONE}-0123456789ab.part.txt"),
        aged(tmp_path / f"mair-{GONE}-0123456789ab.part"),
        aged(tmp_path / f".mair-{os.getpid()}-0123456789ab.part"),
    ]
    young = tmp_path / f".mair-{GONE}-ba9876543210.part"
    young.touch()
    victim = aged(tmp_path / "victim")
    link = tmp_path / f".mair-{GONE}-aaaaaaaaaaaa.part"
    link.symlink_to(victim)
    os.utime(link, (A_DAY_AGO, A_DAY_AGO), follow_symlinks=False)
    aged(tmp_path / f".mair-{GONE}-0123456789ab.part")
    aged(tmp_path / ".mair-0123456789ab.part")
    write(tmp_path / "file")
    assert set(tmp_path.iterdir()) == {*kept, young, victim, link, tmp_path / "file"}


def test_names_that_the_first_versions_gave_are_cleaned_beside_their_own_target_only(tmp_path: Path) -> None:
    aged(tmp_path / f".state.pt.{GONE}.tmp")
    aged(tmp_path / f".state.pt.{GONE}-01234567.part")
    kept = [
        aged(tmp_path / f"state.pt.{GONE}.tmp"),
        aged(tmp_path / f".state.pt.{os.getpid()}.tmp"),
        aged(tmp_path / f".other.pt.{GONE}.tmp"),
        aged(tmp_path / f".notes.txt.{GONE}.tmp"),
    ]
    write(tmp_path / "notes.txt")
    write(tmp_path / "state.pt")
    assert set(tmp_path.iterdir()) == {*kept, tmp_path / "notes.txt", tmp_path / "state.pt"}


def test_what_a_killed_process_leaves_is_found_by_the_next_one(tmp_path: Path) -> None:
    code = f"""if True:
        import sys, time
        from pathlib import Path
        from mair_cli.store.atomic import atomic_write
        with atomic_write(Path({str(tmp_path)!r}) / "file") as stream:
            print("writing", flush=True)
            time.sleep(60)
        """
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        (part,) = tmp_path.iterdir()
        os.utime(part, (A_DAY_AGO, A_DAY_AGO))
        atomic._sweep.cache_clear()
        write(tmp_path / "other")
        assert part.exists(), "its process still runs"
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    atomic._sweep.cache_clear()
    write(tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
