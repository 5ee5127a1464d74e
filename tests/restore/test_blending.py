"""Blending: weights sum to one at every pixel, borders included, and change smoothly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from mair_cli.restore.blending import Canvas, ramp
from mair_cli.restore.tiling import plan_tiles


def effective_weights(height: int, width: int, tile: int, overlap: int) -> npt.NDArray[np.float32]:
    """Weight of each tile at each pixel, (tiles, H, W): the picture where that tile is 1 and all others are 0."""
    grid = plan_tiles(height, width, tile, overlap)
    shares = np.zeros((height, width, len(grid)), np.float32)
    canvas = Canvas(shares, grid, 1, np.copyto)
    for number, (row, column, region) in enumerate(grid):
        one_hot = np.zeros((region.height, region.width, len(grid)), np.float32)
        one_hot[..., number] = 1
        canvas.add(row, column, one_hot)
    return shares.transpose(2, 0, 1)


@pytest.mark.parametrize(
    ("height", "width", "tile", "overlap"),
    [
        (40, 40, 16, 4),
        (37, 53, 16, 8),
        (33, 17, 16, 16),
        (1, 50, 8, 3),
        (50, 1, 8, 4),
        (29, 31, 8, 0),
        (49, 49, 32, 16),
    ],
)
def test_weights_sum_to_one_everywhere_and_are_never_negative(height: int, width: int, tile: int, overlap: int) -> None:
    weights = effective_weights(height, width, tile, overlap)
    assert np.abs(weights.sum(axis=0) - 1).max() < 1e-6
    assert weights.min() >= 0


def test_a_tile_has_no_weight_outside_itself() -> None:
    weights = effective_weights(37, 53, 16, 5)
    for share, (_, _, region) in zip(weights, plan_tiles(37, 53, 16, 5), strict=True):
        outside = share.copy()
        outside[region.slices] = 0
        assert not outside.any()


def test_weights_change_smoothly_from_pixel_to_pixel() -> None:
    weights = effective_weights(1, 200, 64, 32)[:, 0]
    assert (
        np.abs(np.diff(weights, axis=1)).max() < 1.6 / 32
    )  # the steepest step of a smoothstep over 32 pixels is 1.5/32


def test_the_ramp_is_symmetric_and_rises() -> None:
    for length in range(1, 40):
        weights = ramp(length)
        assert np.allclose(weights + weights[::-1], 1, atol=1e-6)
        assert (np.diff(weights) > 0).all()
        assert 0 < weights[0] <= weights[-1] < 1


def test_the_ramp_is_shared_and_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        ramp(8)[0] = 1
