"""Free memory: the tightest of all limits, read from files as Linux writes them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from mair_cli import host_memory
from mair_cli.runtime import memory

MIB = 2**20


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 1000 MiB available and no limits, as files below tmp_path."""
    write(tmp_path, {"proc/meminfo": f"MemTotal: 4096000 kB\nMemAvailable: {1000 * 1024} kB\n"})
    monkeypatch.setattr(host_memory, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(host_memory, "_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(sys, "platform", "linux")
    return tmp_path


def test_without_limits_it_is_what_the_system_has_available(machine: Path) -> None:
    assert host_memory.free_host_memory() == 1000 * MIB


def test_a_version_2_group_limit_counts_less_its_use_plus_its_file_cache(machine: Path) -> None:
    write(
        machine,
        {
            "proc/self/cgroup": "0::/app/job\n",
            "cgroup/app/memory.max": f"{500 * MIB}\n",
            "cgroup/app/memory.current": f"{300 * MIB}\n",
            "cgroup/app/memory.stat": f"anon 5\ninactive_file {100 * MIB}\n",
            "cgroup/app/job/memory.max": "max\n",
            "cgroup/app/job/memory.current": f"{20 * MIB}\n",
        },
    )
    assert host_memory.free_host_memory() == 300 * MIB


def test_a_version_1_group_limit_counts_even_where_only_the_root_is_mounted(machine: Path) -> None:
    write(
        machine,
        {
            "proc/self/cgroup": "5:cpu:/x\n4:memory:/docker/0123\n0::/\n",
            "cgroup/memory/memory.limit_in_bytes": f"{400 * MIB}\n",
            "cgroup/memory/memory.usage_in_bytes": f"{150 * MIB}\n",
            "cgroup/memory/memory.stat": f"total_inactive_file {50 * MIB}\n",
        },
    )
    assert host_memory.free_host_memory() == 300 * MIB


def test_no_limit_in_version_1_is_a_huge_number_and_is_not_one(machine: Path) -> None:
    write(
        machine,
        {
            "proc/self/cgroup": "4:memory:/\n",
            "cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "cgroup/memory/memory.usage_in_bytes": "0\n",
        },
    )
    assert host_memory.free_host_memory() == 1000 * MIB


def test_use_beyond_the_limit_is_nothing_free_not_less(machine: Path) -> None:
    write(
        machine,
        {"proc/self/cgroup": "0::/\n", "cgroup/memory.max": "1000\n", "cgroup/memory.current": "5000\n"},
    )
    assert host_memory.free_host_memory() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="no ulimit")
def test_ulimit_counts(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    pages = 100 * MIB // resource.getpagesize()
    write(machine, {"proc/self/statm": f"{pages} 1 1 1 0 1 0\n"})
    monkeypatch.setattr(resource, "getrlimit", lambda _: (600 * MIB, resource.RLIM_INFINITY))
    assert host_memory.free_host_memory() == 500 * MIB


def test_a_system_that_tells_nothing_gets_a_modest_guess(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_memory, "_PROC", tmp_path)
    monkeypatch.setattr(host_memory, "_CGROUP", tmp_path)
    assert host_memory.free_host_memory() > 0


def test_this_machine_has_some_memory() -> None:
    assert memory.free_memory(torch.device("cpu")) > 50 * MIB


def test_real_failed_allocations_are_recognised() -> None:
    with pytest.raises(RuntimeError) as failure:
        torch.empty(2**58, dtype=torch.uint8)
    assert memory.is_out_of_memory(failure.value)


def test_other_words_for_it_are_recognised() -> None:
    assert memory.is_out_of_memory(MemoryError())
    assert memory.is_out_of_memory(RuntimeError("could not create a primitive"))
    with pytest.raises(SystemError) as failure:
        raise SystemError("returned a result with an exception set") from MemoryError()
    assert memory.is_out_of_memory(failure.value)


@pytest.mark.parametrize(
    "error",
    [ValueError("out of memory"), RuntimeError("size mismatch"), KeyboardInterrupt(), SystemError("bad call")],
)
def test_other_errors_are_not(error: BaseException) -> None:
    assert not memory.is_out_of_memory(error)
