"""Inputs, cropping and sizes are those of the published protocol; what does not fit is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mair_cli.benchmark.methods import BASELINES
from mair_cli.datasets.noise import published_noise
from mair_cli.datasets.pairs import Sample, find_samples
from mair_cli.errors import ImageError, UsageError
from mair_cli.images.io import read_rgb8
from mair_cli.measure.protocol import MeasureProtocol, load_pair, measure, to_bytes


def _save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def _noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_ground_truth_is_cropped_to_the_input_made_from_it(tmp_path: Path) -> None:
    image = _noise(47, 62)
    pair = load_pair(Sample("a", _save(tmp_path / "a.png", image)), MeasureProtocol("sr", 4))
    assert pair.degraded.shape == (11, 15, 3)
    np.testing.assert_array_equal(pair.truth, image[:44, :60])


def test_given_input_is_used_and_ground_truth_is_cropped_to_it(tmp_path: Path) -> None:
    image, small = _noise(47, 62), _noise(11, 15)
    sample = Sample("a", _save(tmp_path / "a.png", image), _save(tmp_path / "b.png", small))
    pair = load_pair(sample, MeasureProtocol("sr", 4))
    np.testing.assert_array_equal(pair.degraded, small)
    np.testing.assert_array_equal(pair.truth, image[:44, :60])


@pytest.mark.parametrize("size", [(10, 15), (12, 15), (11, 16)])
def test_input_of_another_size_is_named(size: tuple[int, int], tmp_path: Path) -> None:
    sample = Sample("a", _save(tmp_path / "hr.png", _noise(47, 62)), _save(tmp_path / "lr.png", _noise(*size)))
    with pytest.raises(ImageError, match=rf"lr\.png: {size[1]}x{size[0]} pixels enlarged x4 .*62x47 .*hr\.png"):
        load_pair(sample, MeasureProtocol("sr", 4))


def test_noisy_input_is_the_published_noise_on_the_whole_image(tmp_path: Path) -> None:
    image = _noise(33, 21)
    pair = load_pair(Sample("a", _save(tmp_path / "a.png", image)), MeasureProtocol("denoise", sigma=25))
    np.testing.assert_allclose(pair.degraded, image / 255 + published_noise(33, 21, 25), atol=1e-6)
    np.testing.assert_array_equal(pair.truth, image)


def test_gray_images_are_read_as_three_equal_channels(tmp_path: Path) -> None:
    path = _save(tmp_path / "gray.png", np.arange(256, dtype=np.uint8).reshape(16, 16))
    image = read_rgb8(path)
    assert image.shape == (16, 16, 3)
    assert (image == image[:, :, :1]).all()
    assert load_pair(Sample("gray", path), MeasureProtocol("denoise", sigma=25)).gray
    assert not load_pair(
        Sample("a", _save(tmp_path / "a.png", _noise(20, 20))), MeasureProtocol("denoise", sigma=25)
    ).gray


def test_published_bicubic_means_come_out_of_shipped_inputs(corpus: Path) -> None:
    for scale, published in ((2, 33.66), (3, 30.39), (4, 28.42)):
        protocol = MeasureProtocol("sr", scale)
        values = []
        for sample in find_samples(corpus / "bench" / "Set5", "sr", scale).samples:
            pair = load_pair(sample, protocol)
            output = BASELINES["bicubic"].run(pair.degraded, protocol)
            values.append(measure(output, pair.truth, protocol.crop).psnr_y)
        assert np.mean(values) == pytest.approx(published, abs=0.02)


def test_same_image_gives_the_same_digest_and_another_one_does_not(tmp_path: Path) -> None:
    protocol = MeasureProtocol("denoise", sigma=25)
    first = load_pair(Sample("a", _save(tmp_path / "a.png", _noise(20, 20))), protocol)
    again = load_pair(Sample("b", _save(tmp_path / "b.png", _noise(20, 20))), protocol)
    other = load_pair(Sample("c", _save(tmp_path / "c.png", 255 - _noise(20, 20))), protocol)
    assert first.digest == again.digest != other.digest


def test_images_too_small_to_measure_are_named(tmp_path: Path) -> None:
    path = _save(tmp_path / "dot.png", _noise(14, 40))
    with pytest.raises(ImageError, match=r"dot\.png.*11x11"):
        load_pair(Sample("dot", path), MeasureProtocol("sr", 4))
    with pytest.raises(ImageError, match="too few for x4"):
        load_pair(Sample("dot", _save(tmp_path / "bit.png", _noise(3, 9))), MeasureProtocol("sr", 4))


def test_rounding_is_to_the_nearest_and_clips() -> None:
    values = np.array([-0.2, 0.0, 0.4 / 255, 0.6 / 255, 1.0, 1.7], np.float32)
    assert to_bytes(values).tolist() == [0, 0, 0, 1, 255, 255]


@pytest.mark.parametrize(
    ("task", "scale", "sigma", "flag"),
    [
        ("sr", 5, None, "`scale` 5"),
        ("denoise", 2, 25.0, "`scale`"),
        ("deblur", 1, 25.0, "`sigma`"),
        ("dejpeg", 1, None, "`jpeg`"),
        ("denoise", 1, None, "`sigma`"),
        ("denoise", 1, 0.0, "`sigma` 0"),
        ("denoise", 1, float("nan"), "`sigma`"),
    ],
)
def test_settings_that_do_not_go_together_name_the_flag(task: str, scale: int, sigma: float | None, flag: str) -> None:
    with pytest.raises(UsageError, match=flag):
        MeasureProtocol(task, scale, sigma)
