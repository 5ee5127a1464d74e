"""Pictures to measure, drawn small, and a benchmark of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mair_cli.data.image_pairs import Sample, find_samples
from mair_cli.evaluation.benchmark import Benchmark, OnRow
from mair_cli.evaluation.protocol import Protocol


def draw(height: int, width: int, seed: int) -> np.ndarray:
    """Waves, a disc and some grain: enough structure that methods differ."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    image = np.stack([128 + 90 * np.sin(x / (2 + c) + seed) * np.cos(y / (3 + c)) for c in range(3)], axis=-1)
    image[np.hypot(y - height / 2, x - width / 2) < min(height, width) / 4] *= 0.4
    return (image + random.normal(0, 4, image.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures of different, odd sizes."""
    target = tmp_path / "pictures"
    target.mkdir()
    for index, (height, width) in enumerate([(45, 61), (50, 38), (64, 64)]):
        Image.fromarray(draw(height, width, index)).save(target / f"p{index + 1}.png")
    return target


@pytest.fixture
def samples(folder: Path) -> list[Sample]:
    return find_samples(folder, "sr", 2).samples


@pytest.fixture
def benchmark(samples: list[Sample], tmp_path: Path) -> Callable[..., Benchmark]:
    """Makes a benchmark of the three pictures, ×2; all of one test share their state."""

    def make(
        keep_outputs: bool = False,
        on_row: OnRow | None = None,
        settings: dict[str, object] | None = None,
        chosen: list[Sample] | None = None,
    ) -> Benchmark:
        return Benchmark(
            Protocol("sr", 2),
            samples if chosen is None else chosen,
            state_root=tmp_path / "state",
            settings=settings or {"dataset": "pictures"},
            keep_outputs=keep_outputs,
            on_row=on_row,
        )

    return make
