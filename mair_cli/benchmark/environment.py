"""On what a benchmark ran: versions and hardware, so that its times mean something."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import torch

from mair_cli.version import __version__

__all__ = ["describe_environment"]

_PACKAGES = ("torch", "numpy", "numba", "pillow")


def describe_environment() -> dict[str, str]:
    """Versions and hardware by label, in the order in which reports show them."""
    found = {"mair-cli": __version__, "Python": platform.python_version()}
    found |= {package: metadata.version(package) for package in _PACKAGES}
    found["system"] = f"{platform.system()} {platform.release()} ({platform.machine()})"
    found["CPU"] = f"{_processor()}, {_cores()} cores usable, {torch.get_num_threads()} threads"
    for index in range(torch.cuda.device_count()):
        found[f"GPU {index}"] = torch.cuda.get_device_name(index)
    return found


def _cores() -> int:
    # os.process_cpu_count came with Python 3.13; affinity is what a container's user may really use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"
