"""How much memory is free on the device that computes, and what running out of it looks like."""

from __future__ import annotations

import gc

import torch

from mair_cli.host_memory import free_host_memory

_MESSAGES = (
    *("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory"),
    *("alloc_failed", "bad_alloc", "could not create a primitive", "could not create a memory"),  # the last: oneDNN's
)


def free_memory(device: torch.device) -> int:
    """Bytes that a computation on `device` may take without swapping or failing; an estimate, never negative."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + cached)
    host = free_host_memory()
    if device.type == "mps":  # shares the host's memory, within the driver's own bound
        return max(0, min(host, torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()))
    return host


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on any device.

    CUDA has its own type; the CPU's and Apple's allocators and the CUDA libraries raise a RuntimeError and tell it
    in words only. Compiled code that finds no memory for its result ends in a SystemError with a MemoryError behind it,
    or, where there is none even for that, with no exception at all.
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    if isinstance(error, SystemError):
        lost = "returned null without setting an" in str(error).lower()
        return lost or isinstance(error.__cause__ or error.__context__, MemoryError)
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _MESSAGES)


def release_memory(device: torch.device) -> None:
    """Give back what PyTorch holds in reserve on `device`, as after a failed allocation."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
