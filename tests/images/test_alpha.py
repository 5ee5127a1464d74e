"""Hidden colours do not reach the visible part: they are replaced by what is visible around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mair_cli.images.alpha import fill_hidden_color
from mair_cli.images.io import Picture, convert_depth, read_picture


def _disc(dtype: str, gray: bool, hidden: float) -> Picture:
    """A bright disc with a soft edge on a hidden ground of another colour; 61×83."""
    y, x = np.mgrid[0:61, 0:83]
    alpha = np.clip(20 - np.hypot(y - 30, x - 40), 0, 1).astype(np.float32)
    ramp = np.stack([0.6 + 0.004 * x, 0.5 + 0.005 * y, 0.7 + 0 * x], axis=2).astype(np.float32)
    color = np.where(alpha[..., None] > 0, ramp, np.float32(hidden))
    return Picture(convert_depth(color[..., 0] if gray else color, dtype), convert_depth(alpha, dtype))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("gray", [False, True])
def test_visible_pixels_stay_and_hidden_ones_take_the_colour_beside_them(dtype: str, gray: bool) -> None:
    picture = _disc(dtype, gray, hidden=0.0)
    assert picture.alpha is not None
    filled = fill_hidden_color(picture)
    assert (filled.shape, filled.dtype) == (picture.color.shape, picture.color.dtype)
    seen = picture.alpha > 0
    np.testing.assert_array_equal(filled[seen], picture.color[seen])
    share = filled.astype(float) / (1 if dtype == "float32" else np.iinfo(dtype).max)
    assert share.min() > 0.45, "the hidden black is still there"
    ring = ~seen & (np.hypot(*np.mgrid[-30:31, -40:43]) < 23)
    truth = 0.6 + 0.004 * np.mgrid[0:61, 0:83][1]
    red = share if gray else share[..., 0]
    assert abs(red - truth)[ring].max() < 0.04


def test_what_was_hidden_makes_no_difference() -> None:
    black, white = (fill_hidden_color(_disc("uint8", False, hidden)) for hidden in (0.0, 1.0))
    np.testing.assert_array_equal(black, white)


@pytest.mark.parametrize("alpha", [None, np.zeros((5, 7), np.uint8), np.full((5, 7), 9, np.uint8)])
def test_pictures_with_nothing_to_fill_from_or_to_fill_are_left_alone(alpha: npt.NDArray[Any] | None) -> None:
    color = np.random.default_rng(0).integers(0, 255, (5, 7, 3)).astype(np.uint8)
    assert fill_hidden_color(Picture(color, alpha)) is color


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 1), (17, 33)])
def test_one_visible_pixel_fills_all(size: tuple[int, int]) -> None:
    color, alpha = np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)
    color[-1, -1], alpha[-1, -1] = (10, 200, 90), 3
    assert (fill_hidden_color(Picture(color, alpha)) == (10, 200, 90)).all()


def test_the_logo_has_no_black_around_it(corpus: Path) -> None:
    picture = read_picture(corpus / "faults" / "logo_black.png")
    assert isinstance(picture, Picture)
    assert picture.alpha is not None
    edge = fill_hidden_color(picture)[picture.alpha == 0]
    visible = picture.color[picture.alpha > 0]
    assert (edge >= visible.min(axis=0)).all()
