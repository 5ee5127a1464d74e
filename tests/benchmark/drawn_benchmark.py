"""Three pictures, drawn small, and a benchmark of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from mair_cli.benchmark.runs import Benchmark, OnRow
from mair_cli.datasets.pairs import Sample, find_samples
from mair_cli.measure.protocol import MeasureProtocol


def draw(height: int, width: int, seed: int) -> np.ndarray:
    """Waves, a disc and some grain: enough structure that methods differ."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    image = np.stack([128 + 90 * np.sin(x / (2 + c) + seed) * np.cos(y / (3 + c)) for c in range(3)], axis=-1)
    image[np.hypot(y - height / 2, x - width / 2) < min(height, width) / 4] *= 0.4
    return (image + random.normal(0, 4, image.shape)).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class DrawnBenchmark:
    """Makes benchmarks of the three pictures, ×2; all made by one of these share their state.

    Each stands for a process of its own: the one before it has ended when the next is made, as far as locks go.
    """

    folder: Path
    state: Path
    made: list[Benchmark] = field(default_factory=list)

    @classmethod
    def below(cls, parent: Path) -> DrawnBenchmark:
        """Draw the pictures, of different and odd sizes."""
        folder = parent / "pictures"
        folder.mkdir()
        for index, (height, width) in enumerate([(45, 61), (50, 38), (64, 64)]):
            Image.fromarray(draw(height, width, index)).save(folder / f"p{index + 1}.png")
        return cls(folder, parent / "state")

    def __call__(
        self,
        keep_outputs: bool = False,
        on_row: OnRow | None = None,
        settings: dict[str, object] | None = None,
        chosen: list[Sample] | None = None,
    ) -> Benchmark:
        for earlier in self.made:
            for state in earlier.outcome.states.values():
                state.close()
        new = Benchmark(
            MeasureProtocol("sr", 2),
            find_samples(self.folder, "sr", 2).samples if chosen is None else chosen,
            state_root=self.state,
            settings=settings or {"dataset": "pictures"},
            keep_outputs=keep_outputs,
            on_row=on_row,
        )
        self.made.append(new)
        return new
