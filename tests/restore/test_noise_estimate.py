"""Noise estimate: within 15 % of what was added."""

from __future__ import annotations

import io
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
    with pytest.raises(UsageError, match="`sigma` auto"):
        estimate_noise(np.zeros(shape, np.uint8))


def as_jpeg(image: npt.NDArray[np.float32], quality: int, subsampling: int = 2) -> npt.NDArray[np.uint8]:
    out = io.BytesIO()
    Image.fromarray(as_file(image)).save(out, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(out))


@pytest.mark.parametrize("sigma", [10, 25, 40])
@pytest.mark.parametrize("quality", [95, 88])
def test_noise_under_colour_at_half_resolution_is_found(
    clean: npt.NDArray[np.float32], sigma: float, quality: int
) -> None:
    assert estimate_noise(as_jpeg(noisy(clean, sigma), quality)) == pytest.approx(sigma, rel=0.25)


def test_noise_that_strong_compression_took_partly_is_not_almost_nothing(clean: npt.NDArray[np.float32]) -> None:
    assert 5 < estimate_noise(as_jpeg(noisy(clean, 25), 50)) < 30


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("quality", [80, 60, 40, 20])
@pytest.mark.parametrize("sigma", [25, 50])
def test_noise_that_strong_compression_rounded_away_is_found_by_the_quality(
    clean: npt.NDArray[np.float32], sigma: float, quality: int, subsampling: int
) -> None:
    compressed = as_jpeg(noisy(clean, sigma), quality, subsampling)
    assert estimate_noise(compressed, quality) == pytest.approx(sigma, rel=0.25)
    gray = as_jpeg(noisy(clean[..., 1], sigma), quality, 0)
    assert estimate_noise(gray, quality) == pytest.approx(sigma, rel=0.25)


@pytest.mark.parametrize("quality", [87, 75, 60, 40, 20, 5, 1])
def test_the_quality_makes_no_noise_of_textures_and_blocks(clean: npt.NDArray[np.float32], quality: int) -> None:
    for image in (clean, clean[:128, -128:], np.full_like(clean, 0.5), clean[..., 1]):
        compressed = as_jpeg(image, quality)
        assert estimate_noise(compressed, quality) < 3.5


@pytest.mark.parametrize("sigma", [5, 25, 45])
def test_noise_of_gray_stored_as_rgb_is_that_of_the_gray(clean: npt.NDArray[np.float32], sigma: float) -> None:
    gray = as_file(noisy(clean[..., 1], sigma))
    spread = np.repeat(gray[..., None], 3, axis=2)
    assert estimate_noise(spread) == estimate_noise(gray) == pytest.approx(sigma, rel=0.15)


@pytest.mark.parametrize("sigma", [10, 25])
def test_noise_of_a_toned_photograph_is_found(clean: npt.NDArray[np.float32], sigma: float) -> None:
    toned = noisy(clean.mean(axis=2), sigma)[..., None] * np.array([1.07, 0.95, 0.74], np.float32)
    expected = sigma * np.sqrt(np.mean(np.square([1.07, 0.95, 0.74])))
    assert estimate_noise(as_file(toned)) == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("gray", [False, True])
def test_noise_that_nearest_neighbour_made_larger_is_found(
    clean: npt.NDArray[np.float32], factor: int, gray: bool
) -> None:
    image = as_file(noisy(clean[..., 1] if gray else clean, 25))
    assert estimate_noise(image.repeat(factor, axis=0).repeat(factor, axis=1)) == pytest.approx(25, rel=0.15)


def test_clean_pictures_stay_clean_in_every_guise(clean: npt.NDArray[np.float32]) -> None:
    gray = as_file(clean[..., 1])
    guises = [as_file(clean), as_jpeg(clean, 90), as_jpeg(clean, 60), gray, np.repeat(gray[..., None], 3, axis=2)]
    assert max(estimate_noise(image) for image in guises) < 3.5


def test_the_noisy_jpeg_is_told_from_a_clean_one(corpus: Path) -> None:
    with Image.open(corpus / "faults" / "noisy_s25_420.jpg") as picture:
        assert estimate_noise(np.asarray(picture)) == pytest.approx(25, rel=0.25)


def test_each_page_has_an_estimate_of_its_own(corpus: Path) -> None:
    estimates = []
    with Image.open(corpus / "faults" / "blankfirst.tif") as picture:
        for page in range(2):
            picture.seek(page)
            estimates.append(estimate_noise(np.asarray(picture)))
    assert estimates[0] < 0.5
    assert estimates[1] == pytest.approx(25, rel=0.15)


@pytest.mark.slow
def test_benchmark_photographs_are_estimated_within_fifteen_percent(corpus: Path) -> None:
    for path in sorted((corpus / "bench" / "CBSD68").iterdir())[::4]:
        with Image.open(path) as picture:
            image = np.asarray(picture.convert("RGB")).astype(np.float32) / np.float32(255)
        for sigma in (10, 25, 50):
            assert estimate_noise(noisy(image, sigma)) == pytest.approx(sigma, rel=0.15), path.name


@pytest.mark.parametrize(("height", "width"), [(24, 24), (25, 40), (40, 48), (31, 64), (63, 63), (65, 24)])
def test_small_photographs_are_estimated_too(height: int, width: int, photograph: npt.NDArray[np.uint8]) -> None:
    """Of a small picture no block is left once it has been halved, whatever its channels have to do with each other."""
    for top, left in ((0, 0), (60, 60), (120, 100)):
        part = photograph[top : top + height, left : left + width]
        assert 0 <= estimate_noise(part) < 40
