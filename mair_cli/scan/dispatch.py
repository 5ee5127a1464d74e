"""The selective scan: which back end computes it. Glossary in `mair_cli.scan.inputs`."""

from __future__ import annotations

import importlib
import logging
from functools import cache
from typing import cast

import torch
from torch import Tensor

from mair_cli.errors import BackendError
from mair_cli.scan.backend import LAST_RESORT, Backend, shuffle_attention
from mair_cli.scan.inputs import Gate, ScanInputs
from mair_cli.scan.registry import BACKENDS, MODULES

__all__ = [
    "BACKENDS",
    "Gate",
    "ScanInputs",
    "backend_status",
    "describe_backend",
    "merged_scan",
    "resolve_backend",
    "selective_scan",
    "shuffle_attention",
]

logger = logging.getLogger(__name__)


def selective_scan(inputs: ScanInputs, *, backend: str = "auto") -> Tensor:
    """Scan an image along K directions at once.

    Args:
        inputs: what to scan.
        backend: one of `BACKENDS`, or `auto`.

    Returns:
        (B, K, L, D) of `u`'s type: what each direction says of each pixel, pixels in image order. Back ends compute in
        float32 whatever that type is; the reference computes float64 in float64.

    Raises:
        BackendError: the back end is unknown, or cannot run here.
    """
    return _backend(resolve_backend(backend, inputs.u.device)).scan(inputs).to(inputs.u.dtype)


def merged_scan(inputs: ScanInputs, gate: Gate, *, backend: str = "auto") -> Tensor:
    """`selective_scan` followed by `shuffle_attention`, in one where the back end can: (B, L, D)."""
    return _backend(resolve_backend(backend, inputs.u.device)).merged_scan(inputs, gate).to(inputs.u.dtype)


def resolve_backend(name: str, device: torch.device) -> str:
    """Name of the back end that `name` (one of `BACKENDS`, or `auto`) stands for on `device`; cached.

    Raises:
        BackendError: unknown name, or a forced back end that cannot run here; says why and what to do.
    """
    return _resolve(name, device.type)


def backend_status(name: str) -> str | None:
    """Why the back end cannot be used on this machine, and the way out; None if it can."""
    return _backend(name).unavailable()


def describe_backend(name: str, device: torch.device) -> str:
    """The name for people, with where it computes if that is not where the tensors are: `numba on the CPU`."""
    place = _backend(name).place(device.type)
    return name if place == device.type else f"{name} on the {place.upper()}, where tensors are carried and back"


@cache
def _resolve(name: str, device: str) -> str:
    if name == "auto":
        return _first_usable(device)
    if name not in MODULES:
        raise BackendError(f"Unknown back end {name!r}; choose auto or one of {', '.join(BACKENDS)}.")
    backend = _backend(name)
    obstacle = backend.unavailable()
    if obstacle is None and backend.rank(device) is None:
        obstacle = f"it takes no tensors from {device}. Choose another `device` or `backend`."
    if obstacle is not None:
        raise BackendError(f"The back end {name!r} cannot be used: {obstacle}")
    return name


def _first_usable(device: str) -> str:
    """The back end that ranks first for tensors on `device`; where that is the last resort, the log tells why."""
    ranks = {name: _backend(name).rank(device) for name in MODULES}
    obstacles: list[str] = []
    for rank, name in sorted((rank, name) for name, rank in ranks.items() if rank is not None):
        obstacle = _backend(name).unavailable()
        if obstacle is None:
            if rank >= LAST_RESORT:
                logger.warning("The scan runs on the slow back end %s. %s", name, " ".join(obstacles))
            return name
        obstacles.append(f"Not on {name}: {obstacle}")
    raise BackendError(f"No back end can scan on {device}.")


def _backend(name: str) -> Backend:
    """Loaded on first use: some need much that others do not."""
    return cast(Backend, importlib.import_module(MODULES[name]).BACKEND)
