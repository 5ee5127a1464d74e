from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from mair_cli.errors import ImageError
from mair_cli.measure.metrics import luma, psnr, ssim, ssim_3d


def _noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _direct_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """The definition, window by window, to check the separable and blocked version."""
    offsets = np.arange(11) - 5
    line = np.exp(-(offsets**2) / 4.5)
    window = np.outer(line, line) / np.outer(line, line).sum()
    values = []
    for y in range(a.shape[0] - 10):
        for x in range(a.shape[1] - 10):
            p, q = (image[y : y + 11, x : x + 11].astype(np.float64) for image in (a, b))
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
            cov = (window * (p - mp) * (q - mq)).sum()
            values.append(
                (2 * mp * mq + 6.5025) * (2 * cov + 58.5225) / ((mp**2 + mq**2 + 6.5025) * (vp + vq + 58.5225))
            )
    return float(np.mean(values))


def test_psnr_and_ssim_equal_the_published_protocol(golden: Path, corpus: Path) -> None:
    cases = json.loads((golden / "protocol.json").read_text())["metrics"]
    assert cases
    for case in cases:
        number, scale = re.findall(r"\d+", case["hr"])[1:]
        folder = corpus / "bench" / "Set5" / f"image_SRF_{scale}"
        truth = np.asarray(Image.open(folder / f"img_{int(number):03d}_SRF_{scale}_HR.png").convert("RGB"))
        small = np.asarray(Image.open(folder / f"img_{int(number):03d}_SRF_{scale}_LR.png").convert("RGB"))
        restored = small.repeat(int(scale), axis=0).repeat(int(scale), axis=1)
        truth = truth[: restored.shape[0], : restored.shape[1]]
        for name, y_channel in (("y", True), ("rgb", False)):
            assert psnr(restored, truth, case["crop"], y_channel) == pytest.approx(case[f"psnr_{name}"], abs=1e-3)
            assert ssim(restored, truth, case["crop"], y_channel) == pytest.approx(case[f"ssim_{name}"], abs=1e-5)


@pytest.mark.parametrize("shape", [(11, 11), (12, 40), (55, 17)])
def test_ssim_equals_its_definition_over_block_edges(shape: tuple[int, int]) -> None:
    a = _noise(shape)
    b = np.clip(a.astype(int) + _noise(shape, 1) // 8 - 16, 0, 255).astype(np.uint8)
    assert ssim(a, b) == pytest.approx(_direct_ssim(a, b), abs=1e-10)


def test_equal_images_reach_the_best_value() -> None:
    image = _noise((20, 21, 3))
    assert psnr(image, image) == math.inf
    assert ssim(image, image) == pytest.approx(1.0, abs=1e-12)


def test_one_level_everywhere_is_48_decibels() -> None:
    image = np.full((16, 16, 3), 100, np.uint8)
    assert psnr(image, image + 1) == pytest.approx(20 * math.log10(255), abs=1e-9)


def test_crop_leaves_out_the_border() -> None:
    a = _noise((24, 24, 3))
    b = a.copy()
    b[:4] = 0
    assert psnr(a, b, crop=4) == math.inf
    assert psnr(a, b, crop=3) < math.inf


def test_luma_range_is_studio_range_and_gray_counts_as_equal_channels() -> None:
    gray = np.array([[0, 255, 77]], np.uint8)
    assert luma(gray)[0, :2] == pytest.approx([16.0, 235.0])
    np.testing.assert_allclose(luma(gray), luma(gray[:, :, None].repeat(3, axis=2)), atol=1e-12)


@pytest.mark.parametrize(
    ("first", "second", "crop", "message"),
    [
        ((20, 20, 3), (20, 21, 3), 0, "21x20"),
        ((20, 20), (20, 20, 3), 0, "gray"),
        ((20, 20, 3), (20, 20, 3), 10, "nothing is left"),
        ((20, 20, 4), (20, 20, 4), 0, "(H, W, 3)"),
    ],
)
def test_images_that_cannot_be_compared_are_named(
    first: tuple[int, ...], second: tuple[int, ...], crop: int, message: str
) -> None:
    with pytest.raises(ImageError, match=re.escape(message)):
        psnr(_noise(first), _noise(second), crop)


def test_wrong_type_and_tiny_images_are_refused() -> None:
    with pytest.raises(ImageError, match="8-bit"):
        psnr(np.zeros((20, 20), np.float32), np.zeros((20, 20), np.float32))
    with pytest.raises(ImageError, match="11x11"):
        ssim(_noise((20, 20, 3)), _noise((20, 20, 3)), crop=5)


def test_ssim_over_channels_equals_its_definition_as_a_convolution_in_three_dimensions() -> None:
    line = torch.exp(-((torch.arange(11.0) - 5).double() ** 2) / 4.5)
    line /= line.sum()
    window = (line[:, None, None] * line[:, None] * line)[None, None]

    def blurred(image: torch.Tensor) -> torch.Tensor:
        return F.conv3d(F.pad(image[None, None], (5,) * 6, mode="replicate"), window)[0, 0]

    a = _noise((37, 41, 3))
    b = (a * 0.9 + _noise(a.shape, 1) * 0.1).astype(np.uint8)
    p, q = (torch.from_numpy(image).double() for image in (a, b))
    mp, mq = blurred(p), blurred(q)
    vp, vq, cov = blurred(p * p) - mp**2, blurred(q * q) - mq**2, blurred(p * q) - mp * mq
    found = (2 * mp * mq + 6.5025) * (2 * cov + 58.5225) / ((mp**2 + mq**2 + 6.5025) * (vp + vq + 58.5225))
    assert ssim_3d(a, b) == pytest.approx(float(found.mean()), abs=1e-9)
    assert ssim_3d(a, a) == 1
    with pytest.raises(ImageError, match="over channels"):
        ssim_3d(a[:, :, 0], b[:, :, 0])
