from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mair_cli.datasets.noise import add_published_noise, published_noise
from mair_cli.errors import UsageError


def test_noise_equals_the_published_draw_in_bgr_order(golden: Path) -> None:
    reference = json.loads((golden / "protocol.json").read_text())["noise"]
    height, width, _ = reference["shape_hwc_bgr"]
    noise = published_noise(height, width, reference["sigma"])
    np.testing.assert_allclose(noise[:, :, ::-1], reference["values"], rtol=0, atol=1e-12)


def test_noise_starts_anew_for_every_image() -> None:
    np.testing.assert_array_equal(published_noise(3, 4, 15), published_noise(3, 4, 15))
    assert not np.array_equal(published_noise(3, 4, 15), published_noise(3, 4, 15, seed=1))


def test_noisy_image_is_neither_clipped_nor_rounded() -> None:
    noisy = add_published_noise(np.full((32, 32, 3), 255, np.uint8), 50)
    assert noisy.dtype == np.float32
    assert noisy.max() > 1.2
    assert len(np.unique(noisy)) > 3000


def test_gray_gets_colour_noise_as_published_code_reads_it() -> None:
    gray = np.arange(64, dtype=np.uint8).reshape(8, 8)
    np.testing.assert_array_equal(
        add_published_noise(gray, 25), add_published_noise(gray[:, :, None].repeat(3, axis=2), 25)
    )


def test_negative_level_is_refused() -> None:
    with pytest.raises(UsageError, match="negative"):
        published_noise(2, 2, -1)
