"""The inference form of a network: called like it, equal within float32's rounding, several times faster.

Only on a CPU, in float32, where numba works. Results are the same for any number of threads.
"""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mair_cli.inference.networks import NetworkSteps, steps_of
from mair_cli.inference.program import Finished, Image, Program
from mair_cli.inference.running import compiled, run
from mair_cli.inference.tile import Floats
from mair_cli.inference.waiting import APART
from mair_cli.networks.levels import Level, known_levels
from mair_cli.networks.network import Network
from mair_cli.scan.cpu.threads import pool, thread_count
from mair_cli.scan.orders import BoundedCache

_PROGRAM_BYTES: Final = 64 << 20
"""What the programs of sizes seen before may take; most of it is scan orders."""
_KEPT_BYTES: Final = 512 << 20
"""Larger arrays are given back after use."""
_LINE: Final = 16  # floats of a cache line
_PROBE: Final = 64
"""Side of the image whose program tells how much memory a pixel takes; a multiple of every `size_multiple`."""
_COPIES: Final = 4
"""Of the result at most, while it is taken out, put together and shuffled."""


class _Prepared(NamedTuple):
    """A program for one size, where it expects its input, and where its result lies."""

    program: Finished
    entry: Image
    result: Image

    @property
    def nbytes(self) -> int:
        return self.program.steps.nbytes + self.program.orders.nbytes


class InferenceForm:
    """A network made ready to be run often on a CPU; made by `inference_form`.

    Args:
        network: its weights are taken as they are now: what changes later is not seen.
        steps: its steps.
    """

    def __init__(self, network: Network, steps: NetworkSteps) -> None:
        self._network, self._steps = network, steps
        self._weights = steps.weights.arrays()
        self._prepared: BoundedCache[tuple[int, int, int, int], _Prepared] = BoundedCache(
            _PROGRAM_BYTES, lambda prepared: prepared.nbytes, always=2
        )
        self._idle: list[Floats] = []
        self._lock = threading.Lock()

    def __call__(self, image: Tensor, noise_level: Level | None = None, jpeg_level: Level | None = None) -> Tensor:
        """As the network's `forward`: (B, 3, H, W) to (B, 3, H · scale, W · scale), float32; any thread may call."""
        entry, residual = self._network.entry(image.float(), noise_level, jpeg_level)
        colours = torch.stack([self._one(pixels) for pixels in entry])
        if self._steps.shuffled > 1:
            colours = F.pixel_shuffle(colours, self._steps.shuffled)
        return self._network.exit(colours, residual)[
            :, :, : image.shape[2] * self._network.scale, : image.shape[3] * self._network.scale
        ]

    @cached_property
    def memory_per_pixel(self) -> int:
        """Bytes per input pixel at the peak, as `Network.memory_per_pixel` estimates them for the network itself."""
        colors = self._network.config.colors
        image = torch.zeros(1, colors, _PROBE, _PROBE)
        entry, _ = self._network.entry(image, **known_levels(self._network.config, 0.0, 0.0))
        channels, height, width = entry.shape[1:]
        within = self._prepare(channels, height, width, 1).program.size / _PROBE**2
        return int((within + _COPIES * colors * self._network.scale**2) * np.dtype(np.float32).itemsize)

    def _one(self, pixels: Tensor) -> Tensor:
        """One image (C, H, W) through the program for its size."""
        channels, height, width = pixels.shape
        threads = thread_count()
        key = (channels, height, width, threads)
        program, entry, result = self._prepared.get(key, lambda: self._prepare(*key))
        array = self._borrow(program.size + threads * program.share)
        rows = array[entry.place :][: entry.pixels * entry.ld].reshape(height, width, entry.ld)
        rows[:, :, channels:] = 0
        rows[:, :, :channels] = pixels.permute(1, 2, 0).numpy()
        self._run(program, array, threads)
        out = array[result.place :][: result.pixels * result.ld].reshape(result.height, result.width, result.ld)
        colours = torch.from_numpy(out[:, :, : result.channels].transpose(2, 0, 1).copy())
        if array.nbytes <= _KEPT_BYTES:
            with self._lock:
                self._idle.append(array)
        return colours

    def _prepare(self, channels: int, height: int, width: int, threads: int) -> _Prepared:
        program = Program(threads)
        entry = program.take(height, width, channels)
        result = self._steps(program, entry)
        return _Prepared(program.finish(), entry, result)

    def _borrow(self, size: int) -> Floats:
        """An array that no other call uses; an earlier call's if it suffices, since the system clears fresh memory."""
        with self._lock:
            while self._idle:
                array = self._idle.pop()
                if array.size >= size:
                    return array
        raw = np.empty(size + _LINE, np.float32)
        first = -(raw.ctypes.data // raw.itemsize) % _LINE
        return raw[first : first + size]

    def _run(self, program: Finished, array: Floats, threads: int) -> None:
        places = compiled(program.kinds, pairs=self._steps.weights.pairs)
        counters = np.zeros(2 * len(program.steps) * APART, np.int64)
        given = (places, program.steps, *self._weights, array, program.orders, program.size, program.share, counters)

        def work(thread: int) -> None:
            run(*given, thread)

        others = [pool(threads - 1).submit(work, number) for number in range(1, threads)] if threads > 1 else []
        work(0)
        for other in others:
            other.result()


def inference_form(network: Network, precision: str = "fp32") -> InferenceForm | None:
    """The inference form of a network in eval mode on the CPU; None for kinds that have none.

    Args:
        network: what it is made of.
        precision: of products: "fp32", or "bf16" where `computes_in_pairs`; all else is float32.
    """
    steps = steps_of(network, pairs=precision == "bf16")
    return None if steps is None else InferenceForm(network, steps)
