"""Random training patches. A batch is a pure function of (seed, step): nothing about the data order needs to be saved,
a resumed run goes on with the very patches it would have seen, and each of several processes takes its slice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mair_cli.errors import TrainingError
from mair_cli.training.degrading import degraded_patch, draw
from mair_cli.training.images import ImagePair
from mair_cli.training.recipe import DegradationSettings

# Batches that wait ready; more only costs memory.
PREFETCH = 4


class Batch(NamedTuple):
    """One step's patches of one process.

    Attributes:
        low: (B, 3, p, p) float32 RGB, the network's input, [0, 1] (noise may leave that range).
        high: (B, 3, p * scale, p * scale) RGB, the target: uint8, a quarter of the way to a GPU; float32 in [0, 1]
            where patches are mixed.
        noise_level: (B,) float32, standard deviation of the noise as a share of the range; 0 without noise.
        jpeg_level: (B,) float32, (100 - quality) / 100 of the last compression; 0 without.
    """

    low: torch.Tensor
    high: torch.Tensor
    noise_level: torch.Tensor
    jpeg_level: torch.Tensor


class PatchSource:
    """Cuts batches from image pairs.

    Args:
        pairs: decoded images.
        scale: target pixels per input pixel.
        seed: every draw follows from it.
        degradation: what is done to the input patches; None leaves them as they are.
        candidates: patches drawn for each one used; the one with most detail is taken.
        teacher_share: share of a step's patches whose target is the teacher's output, where a pair has one.
        equally: draw each image as often as the others; else in proportion to its area, every pixel being as likely.
        mixup: patches are mixed with another one in a ratio drawn from the beta distribution with this parameter for
            both of its own (Zhang et al., "mixup", 2018); 0 for none.
        mixup_share: share of patches that are mixed.
    """

    def __init__(
        self,
        pairs: Sequence[ImagePair],
        scale: int,
        seed: int,
        degradation: DegradationSettings | None = None,
        candidates: int = 1,
        teacher_share: Callable[[int], float] = lambda step: 1.0,
        equally: bool = False,
        mixup: float = 0.0,
        mixup_share: float = 1.0,
    ) -> None:
        self.pairs = list(pairs)
        self.scale = scale
        self.seed = seed
        self.degradation = degradation or DegradationSettings()
        self.candidates = candidates
        self.teacher_share = teacher_share
        self.mixup, self.mixup_share = mixup, mixup_share
        areas = [1 if equally else pair.low.shape[0] * pair.low.shape[1] for pair in self.pairs]
        self._cumulative = np.cumsum(np.array(areas, dtype=np.float64)) / sum(areas)

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
        side = patch * self.scale
        high = np.empty((share, side, side, 3), dtype=np.float32 if self.mixup else np.uint8)
        levels = np.zeros((2, share), dtype=np.float32)
        for i in range(share):
            place = [self.seed, step, rank * share + i]
            low[i], target, levels[:, i] = self._sample(_generator(*place), step, patch)
            high[i] = _unit_range(target) if self.mixup else target
            if self.mixup:
                # From a generator of its own: mixing leaves the patches as they would be without.
                rng = _generator(*place, 1)
                ratio = rng.beta(self.mixup, self.mixup) if rng.random() < self.mixup_share else 1.0
                other_low, other_high, _ = self._sample(rng, step, patch)
                low[i] += np.float32(1 - ratio) * (other_low - low[i])
                high[i] += np.float32(1 - ratio) * (_unit_range(other_high) - high[i])
        noise, jpeg = torch.from_numpy(levels)
        return Batch(_images(low), _images(high), noise, jpeg)

    def _sample(
        self, rng: np.random.Generator, step: int, patch: int
    ) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
        """An input patch, (side, side, 3) float32, its target, uint8, and the levels of noise and JPEG."""
        spot = self._choose(rng, patch)
        turn = int(rng.integers(8))
        teaches = rng.random() < self.teacher_share(step)
        drawn = draw(self.degradation, rng)
        small = degraded_patch(spot.pair.low, spot.pair.high, (spot.y, spot.x), patch, drawn, rng)
        target = spot.target(self.scale, teaches)
        return turned(_unit_range(small), turn), turned(target, turn), drawn.levels

    def _choose(self, rng: np.random.Generator, patch: int) -> _Spot:
        """Where the next patch is cut."""
        drawn = [self._spot(rng, patch) for _ in range(self.candidates)]
        return drawn[0] if len(drawn) == 1 else max(drawn, key=lambda spot: detail(spot.target(self.scale)))

    def _spot(self, rng: np.random.Generator, patch: int) -> _Spot:
        pair = self.pairs[
            int(np.searchsorted(self._cumulative, rng.random(), side="right").clip(0, len(self.pairs) - 1))
        ]
        y = int(rng.integers(pair.low.shape[0] - patch + 1))
        x = int(rng.integers(pair.low.shape[1] - patch + 1))
        return _Spot(pair, y, x, patch)


@dataclass(frozen=True)
class _Spot:
    """A square of `side` input pixels in a pair, its corner at row `y` and column `x`."""

    pair: ImagePair
    y: int
    x: int
    side: int

    def target(self, scale: int, teacher: bool = False) -> np.ndarray:
        """The target patch, uint8: of the original, or of the teacher's output where there is one."""
        whole = self.pair.teacher if teacher and self.pair.teacher is not None else self.pair.high
        y, x, side = self.y * scale, self.x * scale, self.side * scale
        return whole[y : y + side, x : x + side]


def _generator(*place: int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(place))


def _unit_range(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / np.float32(255) if image.dtype == np.uint8 else image


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
    start a second set of threads there and slow the training down. `loaded` is its counterpart for a GPU.
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


def loaded(make: Callable[[int], Batch], first: int, end: int, workers: int = 1) -> Generator[Batch, None, None]:
    """Yield what `prefetched` yields, prepared by processes, in memory that a GPU fetches from while it computes.

    A GPU takes more patches a second than Python prepares in one process, and threads would hold up the one that keeps
    the GPU busy. Where processes are not forked (Windows), `make` is pickled, and each of them holds the images anew.
    """
    steps = _Steps(make, first, end)
    loader = DataLoader(
        steps,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=PREFETCH,
        pin_memory=torch.cuda.is_available(),
    )
    yield from loader


class _Steps(Dataset[Batch]):
    def __init__(self, make: Callable[[int], Batch], first: int, end: int) -> None:
        self._make, self._first, self._end = make, first, end

    def __len__(self) -> int:
        return self._end - self._first

    def __getitem__(self, index: int) -> Batch:
        return self._make(self._first + index)
