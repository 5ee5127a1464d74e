"""The published partition: its geometry, and a reference image computed by the published code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from network_standins import ShortOfMemory, repeat_pixels
from PIL import Image

from mair_cli.errors import MairError
from mair_cli.restore.partition import partition_axis, run_partition
from mair_cli.restore.restorer import Restorer


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
    result = run_partition(repeat_pixels(2), image, 2, multiple=8)
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
        run_partition(network, np.zeros((30, 30, 3), np.uint8), 1)
