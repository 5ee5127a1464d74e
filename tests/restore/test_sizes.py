"""Any size: arithmetic of targets, and what becomes of pictures."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mair_cli.errors import UsageError
from mair_cli.images.io import Picture
from mair_cli.restore.any_size import SizedRestorer
from mair_cli.restore.pictures import resized, restore_picture
from mair_cli.restore.restorer import Restorer
from mair_cli.restore.settings import Levels, RunSettings
from mair_cli.restore.sizes import TargetSize, passes

UNTOLD = Path(__file__).parents[1] / "reference" / "light_d16_x3.pth"
"""A network that takes no level."""


@pytest.mark.parametrize(
    ("text", "name", "size"),
    [
        ("1920", "1920x", (1920, 1440)),
        ("1920x", "1920x", (1920, 1440)),
        ("x1080", "x1080", (1440, 1080)),
        ("1920x1080", "1920x1080", (1440, 1080)),
        ("1000X3000", "1000x3000", (1000, 750)),
        ("150%", "x1.5", (960, 720)),
        ("0.1 %", "x0.001", (1, 1)),
        (" 33.4% ", "x0.334", (214, 160)),
        ("1x", "1x", (1, 1)),
    ],
)
def test_sizes_are_read_named_and_fitted(text: str, name: str, size: tuple[int, int]) -> None:
    target = TargetSize.parse(text)
    assert str(target) == name
    assert target.of(640, 480) == size


@pytest.mark.parametrize(
    "text", ["", "x", "0x", "x0", "-5", "0%", "1601%", "%", "1920y", "19.5x", "1e3", "nan%", "12345678"]
)
def test_what_is_no_size_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(UsageError, match="`size`"):
        RunSettings(task="sr", size=text)


@pytest.mark.parametrize(
    ("ratio", "scales"),
    [
        ("1/10", (2,)), ("1", (2,)), ("2", (2,)), ("201/100", (3,)), ("4", (4,)), ("5", (2, 3)), ("7", (2, 4)),
        ("8", (2, 4)), ("17/2", (3, 3)), ("10", (3, 4)), ("16", (4, 4)),
    ],
)  # fmt: skip
def test_networks_are_taken_that_reach_far_enough_and_least_beyond(ratio: str, scales: tuple[int, ...]) -> None:
    assert passes(Fraction(ratio), (4, 2, 3)) == scales


def test_more_than_two_networks_give_is_refused() -> None:
    with pytest.raises(UsageError, match="more than ×2 twice over"):
        passes(Fraction(5), (2,))


def test_scale_and_size_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="`scale` and `size` exclude"):
        RunSettings(task="sr", scale=2, size="150%")
    with pytest.raises(UsageError, match="`size` is for"):
        RunSettings(task="denoise", sigma=5, size="150%")


@pytest.fixture(scope="module")
def half_again() -> SizedRestorer:
    return SizedRestorer(RunSettings(task="sr", size="150%", device="cpu"))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("gray", [False, True])
def test_the_next_larger_network_is_reduced(half_again: SizedRestorer, dtype: str, gray: bool) -> None:
    image = np.random.default_rng(0).random((17, 22) if gray else (17, 22, 3), np.float32)
    if dtype != "float32":
        image = (image * np.iinfo(dtype).max).astype(dtype)
    result = half_again(image)
    assert result.dtype == image.dtype
    assert result.shape[:2] == (26, 33)
    double = Restorer("sr", scale=2, device="cpu")(image)
    np.testing.assert_array_equal(result, resized(double, 33, 26))


def test_twice_over_the_second_network_is_told_that_its_picture_is_clean() -> None:
    image = np.random.default_rng(1).integers(0, 256, (9, 12, 3), np.uint8)
    told = Levels(jpeg=30)
    result = SizedRestorer(RunSettings(task="sr", size="750%", device="cpu"))(image, levels=told)
    twice = Restorer("sr", scale=4, device="cpu")(
        Restorer("sr", scale=2, device="cpu")(image, levels=told), levels=Levels(sigma=0.0)
    )
    np.testing.assert_array_equal(result, resized(twice, 90, 68))


def test_what_is_told_and_named_is_of_the_network_that_runs() -> None:
    """A box loads ×4 first, which is told of JPEG; what ×3 suffices for goes through a ×3 that is not told."""
    restorer = SizedRestorer(RunSettings(task="sr", size="60x", jpeg="auto", device="cpu"))
    untold = RunSettings(task="sr", weights=UNTOLD, stripe=8, jpeg="auto", device="cpu")
    restorer._loaded[3] = Restorer(untold)
    for width, models, quality in (
        (40, ["mair-lite-x2"], 30),
        (20, [UNTOLD.name], None),
        (15, ["mair-lite-x4"], 30),
    ):
        assert [each.model_name for each in restorer.networks_for(width, 9)] == models
        assert restorer.levels(np.zeros((9, width, 3), np.uint8), file_quality=30).jpeg == quality
    assert [each.model_name for each in restorer.networks_for(9, 9)] == ["mair-lite-x2", "mair-lite-x4"]


def test_a_named_network_is_run_twice_over() -> None:
    image = np.random.default_rng(2).integers(0, 256, (8, 8, 3), np.uint8)
    restorer = SizedRestorer(RunSettings(task="sr", model="mair-lite-x2", size="400%", device="cpu"))
    assert restorer(image).shape == (32, 32, 3)
    assert restorer.enlargement(8, 8) == 4


def test_alpha_takes_the_same_size(half_again: SizedRestorer) -> None:
    color, alpha = np.zeros((10, 15, 3), np.uint8), np.zeros((10, 15), np.uint8)
    alpha[:, 7:] = 255
    for opacity in (alpha, np.full_like(alpha, 255)):
        result = restore_picture(Picture(color, opacity), half_again)
        assert result.alpha is not None
        assert result.alpha.shape == result.color.shape[:2] == (15, 23)


def test_the_picture_decides_how_much_a_box_enlarges() -> None:
    restorer = SizedRestorer(RunSettings(task="sr", size="60x40", device="cpu"))
    assert [restorer.enlargement(*size) for size in ((60, 40), (20, 20), (10, 20), (4, 5))] == [2, 2, 2, 8]
    assert restorer.output_size(4, 5) == (32, 40)
