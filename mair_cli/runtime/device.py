"""Choosing the device by name."""

from __future__ import annotations

import re

import torch

from mair_cli.errors import BackendError, UsageError

_NAME = re.compile(r"auto|cpu|mps|cuda(?::\d+)?")


def choose_device(name: str = "auto") -> torch.device:
    """The device for `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; `auto` takes CUDA, then MPS, then the CPU.

    Raises UsageError for any other name and BackendError for a device that this machine, or this PyTorch, lacks.
    """
    name = name.strip().lower()
    if not _NAME.fullmatch(name):
        raise UsageError(f"`device` {name}: unknown. Use auto, cpu, cuda, cuda:N or mps.")
    if name == "auto":
        return _best_device()
    if name == "mps" and not torch.backends.mps.is_available():
        raise BackendError("`device` mps: no Apple GPU can be used here. Use `device` auto or cpu.")
    if name.startswith("cuda"):
        _check_cuda(name)
    return torch.device("cuda:0" if name == "cuda" else name)


def _best_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda:0")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _check_cuda(name: str) -> None:
    if not torch.cuda.is_available():
        why = "no NVIDIA GPU answers" if torch.version.cuda else "this PyTorch was built without CUDA"
        raise BackendError(f"`device` {name}: {why}. Use `device` auto or cpu; `mair doctor` tells more.")
    count = torch.cuda.device_count()
    index = int(name.partition(":")[2] or 0)
    if index >= count:
        raise BackendError(f"`device` {name}: there are {count} GPUs, numbered from 0. Use `device` cuda:{count - 1}.")


def describe_device(device: torch.device) -> str:
    """The device for people: `CPU (8 threads)`, `cuda:0 (NVIDIA H100)` or `mps (Apple GPU)`."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type == "mps":
        return "mps (Apple GPU)"
    return f"CPU ({torch.get_num_threads()} threads)" if torch.get_num_threads() > 1 else "CPU (1 thread)"
