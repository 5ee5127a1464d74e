"""Scan orders against worked examples of the published code, and properties that every order must have."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from mair_cli.errors import UsageError
from mair_cli.networks import blocks
from mair_cli.networks.blocks import _order_tensor
from mair_cli.scan import orders as scan_order_module
from mair_cli.scan.orders import SCAN_PATTERNS, BoundedCache, scan_orders


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


def _nested(height: int, width: int, stripe: int, shift: int) -> list[tuple[int, int]]:
    """The plain order, (row, column) by (row, column), as docs/network.md tells it in its section 1."""
    if 0 < width < shift:
        return [(y, x) for y in range(height) for x in range(width)]
    borders = [0, *range(shift or stripe, width, stripe), width]
    path: list[tuple[int, int]] = []
    for number, (left, right) in enumerate(pairwise(borders)):
        rows = list(range(height))
        if number % 2 == 1:
            rows.reverse()
        for place, y in enumerate(rows):
            columns = list(range(left, right))
            if place % 2 == 1:
                columns.reverse()
            path += [(y, x) for x in columns]
    return path


@pytest.mark.parametrize("stripe", [*range(1, 13), 16])
@pytest.mark.parametrize("shifted", [False, True])
def test_orders_of_all_small_grids_are_those_that_the_documentation_tells(stripe: int, shifted: bool) -> None:
    shift = stripe // 2 if shifted else 0
    for height in range(1, 25):
        for width in range(1, 25):
            across = np.array(_nested(height, width, stripe, shift))
            down = np.array(_nested(width, height, stripe, shift))[:, ::-1]
            corner = [height - 1, width - 1]
            expected = [path @ [width, 1] for path in (across, corner - across, down, corner - down)]
            assert np.array_equal(scan_orders(height, width, stripe, shifted), expected), f"{height}×{width}"


# Worked out by running the published code: a shift wider than the grid leaves every row to run from left to right.
def test_a_grid_narrower_than_the_shift_is_read_row_by_row() -> None:
    assert scan_orders(3, 2, 8, True)[0].tolist() == [0, 1, 2, 3, 4, 5]
    assert scan_orders(3, 2, 8, False)[0].tolist() == [0, 1, 3, 2, 4, 5]
    assert scan_orders(3, 2, 4, True)[0].tolist() == [0, 1, 3, 2, 4, 5]


def test_a_cache_holds_no_more_bytes_than_it_may_and_forgets_the_oldest_first() -> None:
    cache: BoundedCache[str, bytes] = BoundedCache(100, len)
    first = cache.get("a", lambda: bytes(60))
    assert cache.get("a", lambda: bytes(1)) is first
    cache.get("b", lambda: bytes(50))
    assert cache.held == 50
    assert len(cache.get("huge", lambda: bytes(1000))) == 1000
    assert cache.held <= 100


def test_a_cache_may_be_made_to_hold_the_latest_whatever_their_size() -> None:
    cache: BoundedCache[int, bytes] = BoundedCache(100, len, always=2)
    for number in range(10):
        cache.get(number, lambda: bytes(1000))
    assert cache.held == 2000
    assert cache.get(9, lambda: b"") == bytes(1000)


def test_orders_of_many_large_images_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (scan_order_module, blocks):
        monkeypatch.setattr(module._orders, "_limit", 10_000)
    for height in range(20, 30):
        for shifted in (False, True):
            _order_tensor(height, 40, 8, shifted, "nested", torch.device("cpu"))
    of_two = 2 * 4 * 4 * 29 * 40
    assert scan_order_module._orders.held <= 10_000
    assert blocks._orders.held == of_two > 10_000
    again = [_order_tensor(29, 40, 8, shifted, "nested", torch.device("cpu")) for shifted in (True, False, True)]
    assert again[0] is again[2]
