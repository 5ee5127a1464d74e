"""The side-by-side picture: where it looks, and that any size can be shown."""

from __future__ import annotations

import numpy as np
import pytest

from mair_cli.jobs.side_by_side import Panel, detail_box, side_by_side


@pytest.mark.parametrize("step", [1, 3])
def test_the_detail_lies_where_the_pictures_differ(step: int) -> None:
    height, width = 400 * step, 600 * step
    before = np.full((height, width, 3), 100, np.uint8)
    after = before.copy()
    after[300 * step : 340 * step, 500 * step : 560 * step] = 200
    left, top, right, bottom = detail_box(before, after)
    assert left <= 500 * step
    assert right >= 560 * step
    assert top <= 300 * step
    assert bottom >= 340 * step
    assert (right - left) * (bottom - top) < height * width / 8


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (3, 700), (700, 3), (48, 64), (1500, 1100)])
def test_any_size_can_be_shown(size: tuple[int, int]) -> None:
    result = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    small = result[::2, ::2]
    canvas = side_by_side([Panel("input", small), Panel("restored", result), Panel("ground truth", result)])
    assert canvas.ndim == 3
    assert canvas.dtype == np.uint8
    assert max(canvas.shape) < 2500
    left, top, right, bottom = detail_box(small, result)
    assert 0 <= left < right <= size[1]
    assert 0 <= top < bottom <= size[0]


def test_panels_show_their_own_pictures() -> None:
    panels = [Panel(str(value), np.full((40, 40), value, np.uint8)) for value in (50, 250)]
    canvas = side_by_side(panels)
    middle = canvas[canvas.shape[0] // 3]
    assert (middle[: len(middle) // 2] == 50).all(axis=1).sum() > 30
    assert (middle[len(middle) // 2 :] == 250).all(axis=1).sum() > 30
