"""The weights that ship with the package undo what they are for, on a photograph that they were not trained on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from mair_cli import Restorer
from mair_cli.datasets.haze import Haze, add_haze
from mair_cli.datasets.motion_blur import blur, random_path
from mair_cli.measure.metrics import psnr


def gain(task: str, given: np.ndarray, truth: np.ndarray) -> float:
    return psnr(Restorer(task, device="cpu")(given), truth) - psnr(given, truth)


@pytest.mark.parametrize("inertia", [0.3, 3.0])
def test_motion_blur_becomes_weaker(inertia: float, photograph: npt.NDArray[np.uint8]) -> None:
    path = random_path(np.random.default_rng(3), 6.0, 0.005, inertia)
    assert gain("deblur", blur(photograph, path), photograph) > 1.5


def test_haze_lifts(photograph: npt.NDArray[np.uint8]) -> None:
    height, width = photograph.shape[:2]
    depth = np.linspace(1, 0, height, dtype=np.float32)[:, None].repeat(width, axis=1)
    haze = Haze(1.2, np.array([0.85, 0.85, 0.87], np.float32))
    assert gain("dehaze", add_haze(photograph, depth, haze), photograph) > 5
