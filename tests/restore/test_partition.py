"""The published partition: its geometry, and a reference image computed by the published code."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from network_standins import ShortOfMemory, repeat_pixels
from PIL import Image
from torch import Tensor

from mair_cli.errors import MairError
from mair_cli.restore.partition import partition_axis, run_partition
from mair_cli.restore.restorer import Restorer
from mair_cli.restore.settings import RunSettings
from mair_cli.restore.tiled import TileFunction


def test_small_images_are_one_part() -> None:
    length, (part,) = partition_axis(199)
    assert (length, part.kept, part.seen) == (199, part.kept, part.kept)


def test_parts_divide_the_padded_length_and_see_a_tenth_more_on_inner_sides_only() -> None:
    length, (first, middle, last) = partition_axis(418)
    assert length == 420
    assert (first.seen.start, first.seen.stop) == (0, 154)
    assert (middle.seen.start, middle.seen.stop) == (126, 294)
    assert (last.kept.start, last.seen.start, last.seen.stop) == (280, 266, 420)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (203, 417), (200, 199), (401, 3)])
def test_a_copying_network_gives_the_image_back(height: int, width: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    result = run_partition(TileFunction(repeat_pixels(2), 2, multiple=8), image)
    np.testing.assert_array_equal(result, image.repeat(2, axis=0).repeat(2, axis=1))


def test_the_reference_image_is_reproduced(golden: Path) -> None:
    restorer = Restorer(weights=golden / "light_d1_x4.pth", stripe=8, device="cpu", partition=True)
    with Image.open(golden / "partition_input.png") as picture:
        result = restorer(np.asarray(picture.convert("RGB")))
    with Image.open(golden / "partition_output_light_d1_x4.png") as picture:
        difference = np.abs(result.astype(int) - np.asarray(picture.convert("RGB")))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


def test_lack_of_memory_is_an_error_since_another_size_would_be_another_protocol() -> None:
    network = ShortOfMemory(repeat_pixels(1), lambda _, x: True)
    with pytest.raises(MairError, match="`tile` auto"):
        run_partition(TileFunction(network, 1), np.zeros((30, 30, 3), np.uint8))


def test_the_ensemble_turns_the_whole_image_and_cuts_up_each_view() -> None:
    """A network that adds each part's own slope: only views cut up as a whole make the mean follow the parts."""
    shape = (203, 417, 3)
    image = np.random.default_rng(0).random(shape, dtype=np.float32) / 4

    def sloping(x: Tensor) -> Tensor:
        rows, columns = (torch.linspace(0, 0.4, length) for length in x.shape[2:])
        return x + rows[:, None] + 0.3 * columns

    expected = np.zeros(shape, np.float64)
    for turned, upside_down, mirrored in product((False, True), repeat=3):
        view = image[::-1] if upside_down else image
        view = view[:, ::-1] if mirrored else view
        view = view.swapaxes(0, 1) if turned else view
        result = run_partition(TileFunction(sloping, 1), np.ascontiguousarray(view)).astype(np.float64)
        result = result.swapaxes(0, 1) if turned else result
        result = result[:, ::-1] if mirrored else result
        expected += result[::-1] if upside_down else result
    calls: list[tuple[int, int]] = []
    progress = lambda done, total: calls.append((done, total))  # noqa: E731
    actual = run_partition(TileFunction(sloping, 1), image, ensemble=True, progress=progress)
    np.testing.assert_allclose(actual, expected / 8, atol=1e-6)
    assert calls == [(done, 48) for done in range(1, 49)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_mean_of_the_views_is_rounded_once(dtype: type[np.unsignedinteger]) -> None:
    image = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, (30, 41, 3), dtype=dtype)
    result = run_partition(TileFunction(repeat_pixels(2), 2), image, ensemble=True)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, image.repeat(2, axis=0).repeat(2, axis=1))


def test_the_restorer_takes_both_at_once(golden: Path, photograph: npt.NDArray[np.uint8]) -> None:
    settings = RunSettings(weights=golden / "light_d1_x4.pth", stripe=8, device="cpu", ensemble=True)
    image = photograph[:20, :24]
    part, tile = (Restorer(settings.with_(**way))(image) for way in ({"partition": True}, {"tile": 0}))
    np.testing.assert_allclose(part.astype(int), tile, atol=1)  # one part: the same as one tile
