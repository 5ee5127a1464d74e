"""Random training patches. A batch is a pure function of (seed, step): nothing about the data order needs to be saved,
a resumed run goes on with the very patches it would have seen, and each of several processes takes its slice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from mair_cli.errors import TrainingError
from mair_cli.training.images import ImagePair

# Batches that wait ready; more only costs memory.
PREFETCH = 4


@dataclass(frozen=True)
class Batch:
    """One step's patches of one process.

    Attributes:
        low: (B, 3, p, p) float32 RGB, the network's input, [0, 1] (noise may leave that range).
        high: (B, 3, p * scale, p * scale) float32 RGB in [0, 1].
        noise_level: (B,) float32, standard deviation of the noise as a share of the range; None without noise.
    """

    low: torch.Tensor
    high: torch.Tensor
    noise_level: torch.Tensor | None


class PatchSource:
    """Cuts batches from image pairs.

    Args:
        pairs: decoded images.
        scale: target pixels per input pixel.
        seed: every draw follows from it.
        noise: None, or the lowest and highest noise level of 255 that is added to the input.
        candidates: patches drawn for each one used; the one with most detail is taken.
    """

    def __init__(
        self,
        pairs: Sequence[ImagePair],
        scale: int,
        seed: int,
        noise: tuple[float, float] | None = None,
        candidates: int = 1,
    ) -> None:
        self.pairs = list(pairs)
        self.scale = scale
        self.seed = seed
        self.noise = noise
        self.candidates = candidates
        areas = np.array([pair.low.shape[0] * pair.low.shape[1] for pair in self.pairs], dtype=np.float64)
        self._cumulative = np.cumsum(areas) / areas.sum()

    def check(self, patch: int) -> None:
        """Raise TrainingError naming the first image that is smaller than `patch` input pixels."""
        for pair in self.pairs:
            height, width = pair.low.shape[:2]
            if min(height, width) < patch:
                raise TrainingError(
                    f"{pair.name} is smaller than a patch: {width}x{height} input pixels at scale {self.scale}, "
                    f"patch {patch}; leave it out (data.exclude) or lower data.patch"
                )

    def batch(self, step: int, patch: int, batch: int, rank: int = 0, world: int = 1) -> Batch:
        """The patches of `step`; of a global batch of `batch`, process `rank` of `world` gets its consecutive slice."""
        share = batch // world
        low = np.empty((share, patch, patch, 3), dtype=np.float32)
        high = np.empty((share, patch * self.scale, patch * self.scale, 3), dtype=np.float32)
        levels = np.zeros(share, dtype=np.float32)
        for i in range(share):
            rng = np.random.Generator(np.random.SFC64([self.seed, step, rank * share + i]))
            small, large = self._draw(rng, patch)
            np.divide(small, np.float32(255), out=low[i])
            np.divide(large, np.float32(255), out=high[i])
            if self.noise is not None:
                levels[i] = rng.uniform(*self.noise) / 255
                low[i] += levels[i] * rng.standard_normal(low[i].shape, dtype=np.float32)
        return Batch(_images(low), _images(high), torch.from_numpy(levels) if self.noise is not None else None)

    def _draw(self, rng: np.random.Generator, patch: int) -> tuple[np.ndarray, np.ndarray]:
        """One aligned, randomly turned pair of patches, uint8."""
        drawn = [self._cut(rng, patch) for _ in range(self.candidates)]
        small, large = drawn[0] if len(drawn) == 1 else max(drawn, key=lambda pair: detail(pair[1]))
        turn = int(rng.integers(8))
        return turned(small, turn), turned(large, turn)

    def _cut(self, rng: np.random.Generator, patch: int) -> tuple[np.ndarray, np.ndarray]:
        # Images are drawn in proportion to their area, so that every pixel is as likely as any other.
        pair = self.pairs[
            int(np.searchsorted(self._cumulative, rng.random(), side="right").clip(0, len(self.pairs) - 1))
        ]
        y = int(rng.integers(pair.low.shape[0] - patch + 1))
        x = int(rng.integers(pair.low.shape[1] - patch + 1))
        s = self.scale
        small = pair.low[y : y + patch, x : x + patch]
        return small, pair.high[y * s : (y + patch) * s, x * s : (x + patch) * s]


def turned(image: np.ndarray, turn: int) -> np.ndarray:
    """One of the 8 flips and quarter turns of an (H, W, C) array, as a view; `turn` in 0…7, 0 leaves it alone."""
    if turn >= 4:
        image = image.transpose(1, 0, 2)
    return np.rot90(image, turn % 4)


def detail(patch: np.ndarray) -> float:
    """How much fine structure an (H, W, 3) uint8 patch holds: mean absolute second difference of its green channel."""
    green = patch[:, :, 1].astype(np.int16)
    return float(np.abs(np.diff(green, 2, axis=0)).mean() + np.abs(np.diff(green, 2, axis=1)).mean())


def _images(rows: np.ndarray) -> torch.Tensor:
    """(B, H, W, 3) array as a (B, 3, H, W) tensor over the same memory, which is PyTorch's channels-last layout."""
    return torch.from_numpy(rows).permute(0, 3, 1, 2)


def prefetched(make: Callable[[int], Batch], first: int, end: int, workers: int = 1) -> Generator[Batch, None, None]:
    """Yield `make(step)` for steps `first` to `end - 1` in order, prepared ahead by background threads.

    Closing the generator (or leaving the loop over it) stops the threads. NumPy only in `make`: PyTorch operators would
    start a second set of threads there and slow the training down.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="patches") as pool:
        waiting: deque[Future[Batch]] = deque()
        try:
            for step in range(first, end):
                waiting.append(pool.submit(make, step))
                if len(waiting) > PREFETCH:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
