"""The box in which pictures differ most: one search, for the page's details and the side-by-side picture."""

from __future__ import annotations

import numpy as np
import pytest

from mair_cli.measure.differences import most_different_box


def test_detail_is_where_images_differ_most() -> None:
    first = np.full((100, 140, 3), 80, np.uint8)
    second = first.copy()
    second[60:90, 95:125] = 200
    box = most_different_box([first, second, first], 24, 24)
    assert (box.height, box.width) == (24, 24)
    assert 60 <= box.top <= 66
    assert 95 <= box.left <= 101
    assert box.cut(second).shape == (24, 24, 3)
    assert box.difference == pytest.approx(120 * 219 / 255)


def test_detail_of_a_small_image_is_as_large_as_that() -> None:
    image = np.zeros((9, 20, 3), np.uint8)
    box = most_different_box([image, image], 64, 12)
    assert (box.top, box.height, box.width, box.difference) == (0, 9, 12, 0.0)


def test_box_that_differs_more_wins_over_one_that_differs_in_more_places() -> None:
    first = np.full((80, 80), 50, np.uint8)
    second, third = first.copy(), first.copy()
    second[:, 40:] += 5
    third[8:16, 16:24] += 200
    box = most_different_box([first, second, third], 8, 8)
    assert (box.top, box.left) == (8, 16)
    assert box.difference == pytest.approx(200 * 219 / 255)


def test_smaller_picture_is_enlarged_and_large_ones_are_searched_in_steps() -> None:
    small = np.full((600, 750, 3), 100, np.uint8)
    large = np.full((2400, 3000, 3), 100, np.uint8)
    large[2001:2201, 1302:1602] = 180
    box = most_different_box([small, large], 120, 160)
    assert box.top >= 2001 - 3
    assert box.top + 120 <= 2201 + 3
    assert box.left >= 1302 - 3
    assert box.left + 160 <= 1602 + 3
    assert box.difference == pytest.approx(80 * 219 / 255, rel=0.05)
