"""The inference form of a network: called like the network, equal to it within float32's rounding, several times faster.

Only on a CPU, in float32, where numba works. Results are the same for any number of threads.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from mair_cli.inference.program import Finished, Floats, Program
from mair_cli.networks.levels import Level, append_level_maps
from mair_cli.networks.mair import MaIR
from mair_cli.networks.network import Network
from mair_cli.scan.cpu.threads import thread_count
from mair_cli.scan.orders import BoundedCache

_PROGRAMS_BYTES: Final = 64 << 20
_LINE: Final = 16  # floats of a cache line


class InferenceForm:
    """A network made ready to be run often on a CPU.

    Args:
        network: its weights are taken as they are now: what changes later is not seen.
        builder: from `networks.builder_for`.
    """

    def __init__(self, network: Network, builder: Any) -> None:  # noqa: ANN401
        self._network, self._builder = network, builder
        self._weights = builder.weights.array()
        self._programs: BoundedCache[tuple[int, int, int], tuple[Finished, int, Any]] = BoundedCache(
            _PROGRAMS_BYTES, lambda program: program[0].steps.nbytes + program[0].orders.nbytes, always=2
        )
        self._idle: list[Floats] = []
        self._lock = threading.Lock()

    def __call__(self, image: Tensor, noise_level: Level | None = None, jpeg_level: Level | None = None) -> Tensor:
        """As the network's `forward`: (B, 3, H, W) to (B, 3, H · scale, W · scale), float32."""
        entry, residual = self._network.entry(image.float(), noise_level, jpeg_level)
        out = torch.stack([self._one(pixels) for pixels in entry])
        return self._network.exit(out, residual)

    def _one(self, entry: Tensor) -> Tensor:
        channels, height, width = entry.shape
        threads = thread_count()
        program, start, result = self._programs.get((height, width, threads), lambda: self._build(channels, height, width, threads))
        arena = self._borrow(program.size + threads * program.share)
        try:
            place, ld = start.place, start.ld
            pixels = arena[place : place + height * width * ld].reshape(height * width, ld)
            pixels[:, channels:] = 0
            pixels[:, :channels] = entry.permute(1, 2, 0).reshape(-1, channels).numpy()
            self._run(program, arena, threads)
            rows = arena[result.place : result.place + result.pixels * result.ld].reshape(result.height, result.width, result.ld)
            return torch.from_numpy(rows[..., : result.channels].transpose(2, 0, 1).copy())
        finally:
            with self._lock:
                self._idle.append(arena)

    def _build(self, channels: int, height: int, width: int, threads: int) -> tuple[Finished, Any, Any]:
        program = Program(threads)
        entry = program.take(height, width, channels)
        result = self._builder(program, entry)
        return program.finish(), entry, result

    def _borrow(self, size: int) -> Floats:
        """An array that no other thread uses; kept from call to call, so that its memory is not cleared again and again."""
        with self._lock:
            fitting = [array for array in self._idle if array.size >= size]
            if fitting:
                self._idle.remove
                chosen = min(fitting, key=len)
                self._idle = [array for array in self._idle if array is not chosen]
                return chosen
            self._idle.clear()
        raw = np.empty(size + _LINE, np.float32)
        offset = -(raw.ctypes.data // raw.itemsize) % _LINE
        return raw[offset : offset + size]

    def _run(self, program: Finished, arena: Floats, threads: int) -> None:
        from mair_cli.inference.kernels import APART, run

        counters = np.zeros(2 * len(program.steps) * APART, np.int64)

        def work(thread: int) -> None:
            run(program.steps, self._weights, arena, program.orders, program.size, program.share, counters, thread)

        others = [_pool(threads - 1).submit(work, number) for number in range(1, threads)] if threads > 1 else []
        work(0)
        for other in others:
            other.result()


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="mair-inference")
