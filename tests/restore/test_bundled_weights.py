"""The weights that ship with the package undo what they are for, on a photograph that they were not trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mair_cli import Restorer
from mair_cli.datasets.haze import Haze, add_haze
from mair_cli.datasets.motion_blur import blur, random_path
from mair_cli.measure.metrics import psnr

PHOTOGRAPH = np.asarray(Image.open(Path(__file__).parents[2] / "docs" / "images" / "lighthouse.png").convert("RGB"))
PART = np.ascontiguousarray(PHOTOGRAPH[:, :248])


def gain(restorer: Restorer, given: np.ndarray) -> float:
    return psnr(restorer(given), PART) - psnr(given, PART)


@pytest.mark.parametrize("inertia", [0.3, 3.0])
def test_motion_blur_becomes_weaker(inertia: float) -> None:
    path = random_path(np.random.default_rng(3), 6.0, 0.005, inertia)
    assert gain(Restorer("deblur", device="cpu"), blur(PART, path)) > 1.5


def test_haze_lifts() -> None:
    depth = np.linspace(1, 0, PART.shape[0], dtype=np.float32)[:, None].repeat(PART.shape[1], axis=1)
    haze = Haze(1.2, np.array([0.85, 0.85, 0.87], np.float32))
    assert gain(Restorer("dehaze", device="cpu"), add_haze(PART, depth, haze)) > 5
