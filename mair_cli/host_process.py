"""How this process waits and keeps memory: told to the system's libraries before they are loaded.

A leaf, free of everything heavy.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

_SPINS: Final = "1000"
"""Rounds of GNU's OpenMP threads before they sleep; their own choice is some milliseconds. On two cores with two busy
programs beside, PyTorch's operators take 12 times as long with it: threads that spin keep those away that work."""
_BLOCK_MILLISECONDS: Final = "1"
"""The same for LLVM's and Intel's."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_LARGEST_KEPT: Final = (1 << 31) - 1
_LARGEST_MAPPED: Final = 1 << 30


def share_processors() -> None:
    """Let threads that wait sleep soon; what the user has set in the environment stays.

    Only before PyTorch is loaded: its OpenMP library reads this once.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
        os.environ.setdefault("KMP_BLOCKTIME", _BLOCK_MILLISECONDS)


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks for the next ones instead of giving each back to the system, which then clears it.

    For programs of ours; elsewhere than on Linux with glibc nothing happens.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_MMAP_THRESHOLD, _LARGEST_MAPPED)
    mallopt(_TRIM_THRESHOLD, _LARGEST_KEPT)
