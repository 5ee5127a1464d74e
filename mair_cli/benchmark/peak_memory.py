"""Peak memory of a piece of work: on a GPU what its tensors took, on the CPU what the whole process took."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import torch

__all__ = ["PeakMemory"]

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class PeakMemory:
    """Context manager; afterwards `bytes` holds the peak, or None where this system tells none.

    On Linux the kernel's high-water mark is set back before; on macOS there is only that of the whole process life.
    """

    def __init__(self, device: torch.device) -> None:
        self.bytes: int | None = None
        self._device = device

    def __enter__(self) -> PeakMemory:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
        elif _CLEAR.exists():
            with suppress(OSError):  # some containers forbid it: the mark then covers the whole process life
                _CLEAR.write_text("5")  # proc(5): resets the high-water mark of resident memory
        return self

    def __exit__(self, *_: object) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            self.bytes = torch.cuda.max_memory_allocated(self._device)
        else:
            self.bytes = _resident_peak()


def _resident_peak() -> int | None:
    if _STATUS.is_file():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return None
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None
