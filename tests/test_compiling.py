"""Compiled kernels are kept on disk, never stale, and what is wrong with the folder never ends a run."""

from __future__ import annotations

import ast
import errno
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import pytest

from mair_cli import compiling
from mair_cli.compiling import compile_kernel
from mair_cli.errors import NOTICE
from mair_cli.scan.cpu import kernels

FACTOR = "import numba\n@numba.njit(inline='always')\ndef factor():\n    return {}\n"
SCALED = "from factor import factor\ndef scaled(x):\n    return factor() * x\n"


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], tuple[float, bool]]:
    """Compiles a function of two files in a fresh interpreter's stead; gives scaled(10.0) and whether disk had it."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path)
    files = (tmp_path / "scaled.py", tmp_path / "factor.py")
    files[0].write_text(SCALED)

    def call(factor: float) -> tuple[float, bool]:
        files[1].write_text(FACTOR.format(factor))
        loaded = {}
        for file in reversed(files):
            spec = importlib.util.spec_from_file_location(file.stem, file)
            assert spec is not None
            assert spec.loader is not None
            loaded[file.stem] = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
            exec(compile(file.read_text(), str(file), "exec"), loaded[file.stem].__dict__)
        kernel: Any = compile_kernel(loaded["scaled"].scaled, files, {"nogil": True})
        return kernel(10.0), sum(kernel.stats.cache_hits.values()) == 1

    return call


def kept(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "cache").rglob("*") if path.is_file())


def test_code_is_taken_from_disk_until_any_of_its_files_changes(
    compiled: Callable[[float], tuple[float, bool]],
) -> None:
    assert compiled(2.0) == (20.0, False)
    assert compiled(2.0) == (20.0, True)
    assert compiled(3.0) == (30.0, False)
    assert compiled(2.0) == (20.0, True)


@pytest.mark.parametrize("content", [b"", b"foreign", b"\x80\x05garbage" * 99, None, "cut", "flipped"])
def test_what_is_damaged_or_foreign_is_made_anew_and_heals(
    compiled: Callable[[float], tuple[float, bool]], tmp_path: Path, content: bytes | str | None
) -> None:
    compiled(2.0)
    (file,) = kept(tmp_path)
    whole = file.read_bytes()
    if content is None:
        file.unlink()
        file.mkdir()
    elif content == "cut":
        file.write_bytes(whole[:-100])
    elif content == "flipped":
        file.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
    elif isinstance(content, bytes):
        file.write_bytes(content)
    assert compiled(2.0) == (20.0, False)
    assert compiled(2.0) == (20.0, content is not None)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_what_cannot_be_written_is_compiled_in_memory_and_leaves_nothing(
    compiled: Callable[[float], tuple[float, bool]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(self: Path, data: bytes) -> int:
        self.touch()
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    assert compiled(2.0) == (20.0, False)
    assert kept(tmp_path) == []


def test_every_file_that_kernels_take_code_from_is_watched() -> None:
    path = Path(kernels.__file__)
    named = {
        str(node.module)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("mair_cli.")
    } - {"mair_cli.scan.cpu", "mair_cli.compiling"}
    assert {source.stem for source in kernels.SOURCES} == {path.stem} | {name.rpartition(".")[2] for name in named}


def test_whoever_waits_for_compiling_is_told_once_and_nobody_else(
    compiled: Callable[[float], tuple[float, bool]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> list[tuple[int, str]]:
        said = [(record.levelno, record.getMessage()) for record in caplog.records]
        caplog.clear()
        return said

    caplog.set_level(NOTICE, "mair_cli")
    monkeypatch.setattr(compiling._notice, "_left", 60.0)
    compiled(2.0)
    assert told() == [], "it takes less than that"
    monkeypatch.setattr(compiling._notice, "_left", 1e-3)
    compiled(2.0)
    assert told() == [], "it comes from disk"
    numba.njit(lambda x: x + 1)(1)
    assert told() == [], "it is somebody else's function"
    compiled(3.0)
    ((level, text),) = told()
    assert level == NOTICE
    assert "Compiling" in text
    compiled(4.0)
    assert told() == []


def test_a_function_that_cannot_be_compiled_leaves_nothing_waiting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(NOTICE, "mair_cli")
    monkeypatch.setattr(compiling._notice, "_left", 1.0)
    kernel = compile_kernel(lambda x: x.no_such_attribute, (), {})
    with pytest.raises(numba.TypingError):
        kernel(1)
    assert 0 < compiling._notice._left < 1
    time.sleep(compiling._notice._left + 0.1)
    assert caplog.records == []


SCRIPT = """
import torch
from mair_cli.scan.dispatch import ScanInputs, selective_scan
order = torch.arange(4, dtype=torch.int32).expand(4, 4).contiguous()
one = torch.ones(4, 3, 1)
x, projections = torch.ones(1, 4, 3), torch.full((1, 4, 4, 3), 0.5)
y = selective_scan(ScanInputs(x, projections, one, torch.zeros(4, 3), -one, torch.ones(4, 3), order))
print(f"{float(y.sum()):.4f}")
"""


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=os.environ | environment, check=False
    )


@pytest.mark.parametrize("threads", ["1", "7"])
def test_scan_works_with_a_read_only_cache_and_any_thread_setting(tmp_path: Path, threads: str) -> None:
    cache = tmp_path / "not-a-folder"
    cache.write_text("")
    done = run(NUMBA_CACHE_DIR=str(cache), NUMBA_NUM_THREADS=threads, OMP_NUM_THREADS=threads)
    assert done.returncode == 0, done.stderr
    assert done.stdout == run().stdout
    assert float(done.stdout) > 0


@pytest.mark.parametrize("setting", ["NUMBA_DISABLE_JIT=1", "NUMBA_NUM_THREADS=0"])
def test_settings_that_keep_numba_from_working_lead_to_the_reference_with_the_reason(setting: str) -> None:
    name, _, value = setting.partition("=")
    done = run(**{name: value})
    assert done.returncode == 0, done.stderr
    assert done.stdout == run().stdout
    assert "reference" in done.stderr
    assert ("NUMBA_DISABLE_JIT" if name == "NUMBA_DISABLE_JIT" else "threads") in done.stderr


@pytest.mark.parametrize("home", [True, False])
def test_code_of_a_package_that_cannot_be_written_goes_to_the_users_cache_or_nowhere(
    home: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "doubled.py").write_text("def doubled(x):\n    return 2 * x\n")
    (tmp_path / "__pycache__").touch()  # no folder can be made there, even by root
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if home:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    else:
        monkeypatch.setattr(os.path, "expanduser", str)
    monkeypatch.syspath_prepend(tmp_path)
    function = importlib.import_module("doubled").doubled
    monkeypatch.delitem(sys.modules, "doubled")
    kernel = compile_kernel(function, (tmp_path / "doubled.py",), {})
    assert kernel(3) == 6
    assert list((tmp_path / "work").iterdir()) == []
    assert [path.suffix for path in kept(tmp_path)] == ([".nbk"] if home else [])
