"""Noise estimate: within 15 % of what was added."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mair_cli.errors import UsageError
from mair_cli.restore.noise_estimate import estimate_noise


@pytest.fixture
def clean(photograph: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return photograph.astype(np.float32) / np.float32(255)


def noisy(image: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[np.float32]:
    return image + np.random.default_rng(0).normal(0, sigma / 255, image.shape).astype(np.float32)


def as_file(image: npt.NDArray[np.float32], largest: int = 255) -> npt.NDArray[Any]:
    levels: npt.NDArray[np.float32] = np.rint(image.clip(0, 1) * largest)
    return levels.astype(np.uint8) if largest == 255 else levels.astype(np.uint16)


@pytest.mark.parametrize("sigma", [5, 15, 25, 50, 75])
def test_known_noise_is_found(clean: npt.NDArray[np.float32], sigma: float) -> None:
    assert estimate_noise(noisy(clean, sigma)) == pytest.approx(sigma, rel=0.15)


@pytest.mark.parametrize("sigma", [5, 15, 25, 50])
def test_noise_that_a_file_cut_off_at_black_and_white_is_found(clean: npt.NDArray[np.float32], sigma: float) -> None:
    assert estimate_noise(as_file(noisy(clean, sigma))) == pytest.approx(sigma, rel=0.15)


def test_gray_and_sixteen_bits_tell_the_same(clean: npt.NDArray[np.float32]) -> None:
    gray = noisy(clean[..., 1], 25)
    assert estimate_noise(gray) == pytest.approx(25, rel=0.15)
    assert estimate_noise(as_file(gray, 65535)) == pytest.approx(25, rel=0.15)


def test_more_noise_is_never_estimated_as_less(clean: npt.NDArray[np.float32]) -> None:
    estimates = [estimate_noise(as_file(noisy(clean, sigma))) for sigma in (2, 10, 20, 40, 60)]
    assert estimates == sorted(estimates)


def test_flat_and_white_images_have_no_noise_and_are_no_trouble() -> None:
    for value in (0, 128, 255):
        assert estimate_noise(np.full((64, 64, 3), value, np.uint8)) < 0.5


@pytest.mark.parametrize("shape", [(23, 100, 3), (100, 23), (1, 1)])
def test_too_small_an_image_asks_for_a_number(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="--sigma auto"):
        estimate_noise(np.zeros(shape, np.uint8))


@pytest.mark.slow
def test_benchmark_photographs_are_estimated_within_fifteen_percent(corpus: Path) -> None:
    for path in sorted((corpus / "bench" / "CBSD68").iterdir())[::4]:
        with Image.open(path) as picture:
            image = np.asarray(picture.convert("RGB")).astype(np.float32) / np.float32(255)
        for sigma in (10, 25, 50):
            assert estimate_noise(noisy(image, sigma)) == pytest.approx(sigma, rel=0.15), path.name
