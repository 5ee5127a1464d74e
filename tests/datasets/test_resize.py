from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mair_cli.datasets.resize import Border, matlab_bicubic
from mair_cli.errors import UsageError
from mair_cli.measure.metrics import psnr


def _image(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, channels), dtype=np.uint8)


def _direct(line: np.ndarray, scale: float, length: int, border: Border) -> np.ndarray:
    """Resample one line sample by sample, straight from the definition."""

    def kernel(x: float) -> float:
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0

    def sample(position: int) -> float:
        n = len(line)
        if border == "replicate":
            return float(line[min(max(position, 0), n - 1)])
        return float(np.concatenate([line, line[::-1]])[position % (2 * n)])

    shrink = min(scale, 1.0)
    out = []
    for i in range(length):
        centre = (i + 0.5) / scale - 0.5
        window = range(int(centre - 2 / shrink) - 2, int(centre + 2 / shrink) + 3)
        weights = [kernel(shrink * (centre - p)) for p in window]
        out.append(sum(w * sample(p) for w, p in zip(weights, window, strict=True)) / sum(weights))
    return np.array(out)


def _pairs(corpus: Path, dataset: str, scale: int) -> list[tuple[np.ndarray, np.ndarray]]:
    folder = corpus / "bench" / dataset / f"image_SRF_{scale}"
    truths = sorted(folder.glob("*_HR.png"))
    return [
        (np.asarray(Image.open(path)), np.asarray(Image.open(path.with_name(path.name.replace("_HR", "_LR")))))
        for path in truths
    ]


@pytest.mark.parametrize("dataset", ["Set5", "Set14"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_downscaling_equals_real_matlab_files_bit_for_bit(corpus: Path, dataset: str, scale: int) -> None:
    pairs = _pairs(corpus, dataset, scale)
    assert pairs
    for truth, small in pairs:
        made = matlab_bicubic(truth[: small.shape[0] * scale, : small.shape[1] * scale], Fraction(1, scale))
        assert made.shape == small.shape
        np.testing.assert_array_equal(made, small)


@pytest.mark.parametrize(("scale", "published"), [(2, 33.66), (3, 30.39), (4, 28.42)])
def test_bicubic_on_set5_reaches_the_published_mean(corpus: Path, scale: int, published: float) -> None:
    values = []
    for whole, _ in _pairs(corpus, "Set5", scale):
        height, width = (side // scale * scale for side in whole.shape[:2])
        truth = whole[:height, :width]
        enlarged = matlab_bicubic(matlab_bicubic(truth, Fraction(1, scale)), scale)
        values.append(psnr(enlarged, truth, crop=scale, y_channel=True))
    assert np.mean(values) == pytest.approx(published, abs=0.02)


@pytest.mark.parametrize("border", ["replicate", "symmetric"])
@pytest.mark.parametrize("scale", [0.25, 1 / 3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0])
def test_both_border_rules_equal_the_definition_at_any_scale(scale: float, border: Border) -> None:
    image = np.random.default_rng(7).random((13, 9))
    made = matlab_bicubic(image, scale, border=border)
    height, width = made.shape
    assert (height, width) == (int(np.ceil(13 * scale - 1e-9)), int(np.ceil(9 * scale - 1e-9)))
    tall = np.stack([_direct(image[:, x], scale, height, border) for x in range(9)], axis=1)
    expected = np.stack([_direct(tall[y], scale, width, border) for y in range(height)])
    np.testing.assert_allclose(made, expected, atol=1e-9)


def test_integer_images_are_rounded_after_each_pass() -> None:
    image = _image(24, 20)
    once = matlab_bicubic(image.astype(np.float64), Fraction(1, 2))
    rows = np.floor(matlab_bicubic(image.astype(np.float64), size=(12, 20)) + 0.5).clip(0, 255)
    both = np.floor(matlab_bicubic(rows, size=(12, 10)) + 0.5).clip(0, 255)
    made = matlab_bicubic(image, Fraction(1, 2))
    np.testing.assert_array_equal(made, both)
    assert np.abs(made - once.clip(0, 255)).max() > 0.5


def test_smaller_scale_goes_first_and_types_are_kept() -> None:
    image = _image(16, 16)
    np.testing.assert_array_equal(
        matlab_bicubic(image, size=(12, 4)), matlab_bicubic(image.transpose(1, 0, 2), size=(4, 12)).transpose(1, 0, 2)
    )
    for dtype in (np.uint8, np.uint16, np.float32):
        assert matlab_bicubic(image.astype(dtype), 2).dtype == dtype


def test_one_pixel_and_flat_images_stay_flat() -> None:
    assert matlab_bicubic(np.full((1, 1, 3), 9, np.uint8), 4).tolist() == [[[9, 9, 9]] * 4] * 4
    assert np.unique(matlab_bicubic(np.full((7, 5), 200, np.uint8), Fraction(1, 4))).tolist() == [200]


def test_unusable_requests_say_why() -> None:
    image = _image(4, 4)
    with pytest.raises(UsageError, match="either"):
        matlab_bicubic(image)
    with pytest.raises(UsageError, match="0x0"):
        matlab_bicubic(image, size=(0, 0))
    with pytest.raises(UsageError, match="border"):
        matlab_bicubic(image, 2, border="wrap")  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_blocks_change_nothing(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    image: np.ndarray = (np.random.default_rng(4).random((37, 53, 3)) * (1 if dtype is np.float32 else 250)).astype(
        dtype
    )
    whole = matlab_bicubic(image, size=(20, 71))
    monkeypatch.setattr("mair_cli.datasets.resize._BLOCK", 600)
    np.testing.assert_array_equal(matlab_bicubic(image, size=(20, 71)), whole)
