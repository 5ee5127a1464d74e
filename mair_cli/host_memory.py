"""How much main memory is free.

A process may use less than the machine has free: a container's limit (cgroup, version 1 or 2) and the shell's
`ulimit -v` are asked as well, and the smallest answer counts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

_FALLBACK = 2 * 2**30
"""Bytes taken for free where the system tells nothing."""
_PROC = Path("/proc")
_CGROUP = Path("/sys/fs/cgroup")


def free_host_memory() -> int:
    """Bytes of main memory that this process may still take."""
    if sys.platform == "win32":
        return _free_on_windows()
    limits = [*_available(_PROC), *_cgroup_room(_PROC, _CGROUP), *_address_space_room(_PROC)]
    return max(0, min(limits)) if limits else _half_of_installed()


def _available(proc: Path) -> Iterator[int]:
    """`MemAvailable` of Linux: what programs can get before the system swaps."""
    for line in _lines(proc / "meminfo"):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _cgroup_room(proc: Path, root: Path) -> Iterator[int]:
    """What each control group around this process still allows."""
    for line in _lines(proc / "self" / "cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from _room_up_the_tree(root, path, "memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            yield from _room_up_the_tree(root / "memory", path, "memory.limit_in_bytes", "memory.usage_in_bytes")


def _room_up_the_tree(root: Path, path: str, limit_file: str, usage_file: str) -> Iterator[int]:
    # In a container the group's path may be the host's, of which only the root is mounted: missing steps are skipped.
    inner = root / path.strip("/")
    for folder in (inner, *inner.parents):
        limit, usage = _number(folder / limit_file), _number(folder / usage_file)
        if limit is not None and usage is not None and limit < 2**60:  # version 1 writes a huge number for "none"
            yield limit - usage + _reclaimable(folder)
        if folder == root:
            return


def _reclaimable(folder: Path) -> int:
    """File cache that counts as the group's usage and is dropped when memory is wanted."""
    fields = dict(line.split(maxsplit=1) for line in _lines(folder / "memory.stat") if " " in line)
    return int(fields.get("total_inactive_file", fields.get("inactive_file", "0")))


def _address_space_room(proc: Path) -> Iterator[int]:
    """What `ulimit -v` leaves."""
    import resource  # absent on Windows

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    used = next(iter(_lines(proc / "self" / "statm")), "").split()
    if limit != resource.RLIM_INFINITY and used:
        yield limit - int(used[0]) * os.sysconf("SC_PAGE_SIZE")


def _half_of_installed() -> int:
    """Half of what is installed: macOS has no cheap figure for free memory, and compresses what lies idle."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (ValueError, OSError):
        return _FALLBACK


def _free_on_windows() -> int:
    import ctypes

    class MemoryStatus(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
            (name, ctypes.c_ulonglong) for name in ("total", "available", "a", "b", "c", "d", "e")
        ]

    status = MemoryStatus(length=ctypes.sizeof(MemoryStatus))
    found = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined,unused-ignore]
    return int(status.available) if found else _FALLBACK


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []


def _number(path: Path) -> int | None:
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdecimal() else None
