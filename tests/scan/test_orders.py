"""Scan orders against worked examples of the published code, and properties that every order must have."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mair_cli.errors import UsageError
from mair_cli.scan.orders import SCAN_PATTERNS, scan_orders


def test_orders_equal_the_published_ones(golden: Path) -> None:
    with np.load(golden / "scan_orders.npz") as examples:
        assert len(examples.files) > 30
        for key in examples.files:
            height, width, stripe, kind = re.fullmatch(r"h(\d+)_w(\d+)_stripe(\d+)_(\w+)", key).groups()  # type: ignore[union-attr]
            orders = scan_orders(int(height), int(width), int(stripe), kind == "shifted")
            np.testing.assert_array_equal(orders, examples[key], err_msg=key)


@pytest.mark.parametrize("pattern", SCAN_PATTERNS)
@pytest.mark.parametrize("shifted", [False, True])
def test_every_direction_visits_every_pixel_once(pattern: str, shifted: bool) -> None:
    for height, width, stripe in [(1, 1, 1), (1, 9, 4), (9, 1, 4), (7, 13, 1), (8, 16, 8), (5, 3, 20)]:
        orders = scan_orders(height, width, stripe, shifted, pattern)
        assert orders.shape == (4, height * width)
        assert orders.dtype == np.int32
        np.testing.assert_array_equal(np.sort(orders, axis=1), np.tile(np.arange(height * width), (4, 1)))


def test_opposite_directions_mirror_each_other() -> None:
    orders = scan_orders(6, 11, 4, True)
    np.testing.assert_array_equal(orders[1], 65 - orders[0])
    np.testing.assert_array_equal(orders[3], 65 - orders[2])


def test_comparison_orders_walk_as_their_names_say() -> None:
    assert scan_orders(2, 3, 8, False, "raster")[0].tolist() == [0, 1, 2, 3, 4, 5]
    assert scan_orders(2, 3, 8, False, "continuous")[0].tolist() == [0, 1, 2, 5, 4, 3]
    assert scan_orders(3, 4, 2, False, "window")[0].tolist() == [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 10, 11]


def test_orders_are_cached_and_cannot_be_spoiled() -> None:
    orders = scan_orders(5, 6, 4, False)
    assert scan_orders(5, 6, 4, False) is orders
    with pytest.raises(ValueError, match="read-only"):
        orders[0, 0] = 1


@pytest.mark.parametrize(
    ("height", "width", "stripe", "pattern"), [(0, 4, 4, "nested"), (4, 4, 0, "nested"), (4, 4, 4, "hilbert")]
)
def test_impossible_grids_and_unknown_patterns_are_refused(height: int, width: int, stripe: int, pattern: str) -> None:
    with pytest.raises(UsageError):
        scan_orders(height, width, stripe, False, pattern)
