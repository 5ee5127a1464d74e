"""Flat graphics keep their colours when enlarged; photographs are left as the network made them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from mair_cli.restore.flat import within_neighbours


def _drawing(dtype: str, gray: bool) -> npt.NDArray[np.generic]:
    """Lines and a box on plain ground."""
    image: npt.NDArray[np.generic] = np.full((150, 40, 3), (240, 230, 220), dtype)
    image[10, 5:35] = image[20:90, 8] = (80, 80, 90)
    image[100:140, 10:30] = (200, 60, 50)
    return image[..., 1].copy() if gray else image


def _enlarged(image: npt.NDArray[np.generic], scale: int, seed: int) -> npt.NDArray[np.generic]:
    """As a network might, with errors in both directions."""
    large = image.repeat(scale, axis=0).repeat(scale, axis=1).astype(np.int64)
    wrong = np.random.default_rng(seed).integers(-90, 90, large.shape)
    return (large + wrong).clip(0, 255).astype(image.dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_no_value_of_a_drawing_lies_beyond_its_neighbours(dtype: str, gray: bool, scale: int) -> None:
    image = _drawing(dtype, gray)
    result = within_neighbours(_enlarged(image, scale, 0), image)
    padded = np.pad(image, [(1, 1), (1, 1), (0, 0)][: image.ndim], "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    for function, beyond in ((np.min, np.less), (np.max, np.greater)):
        bound = function(windows, axis=(-1, -2)).repeat(scale, axis=0).repeat(scale, axis=1)
        assert not beyond(result, bound).any()


def test_photographs_and_smoothed_edges_are_left_alone(photograph: npt.NDArray[np.uint8]) -> None:
    smooth = np.add.outer(np.arange(32) * 3, np.arange(32) * 5).astype(np.uint8)
    for image in (photograph, smooth):
        large = _enlarged(image, 2, 1)
        assert np.array_equal(within_neighbours(large.copy(), image), large)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9, 3), (2, 2, 3), (9, 2)])
def test_tiny_pictures_and_floats_are_no_trouble(shape: tuple[int, ...]) -> None:
    for dtype in (np.uint8, np.float32):
        image: npt.NDArray[np.generic] = np.ones(shape, dtype)
        large = image.repeat(2, axis=0).repeat(2, axis=1)
        assert within_neighbours(large, image).shape == large.shape
