"""Tiles: a network that copies pixels gives the same picture tiled or whole, with difference 0, whatever goes wrong."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from network_standins import ShortOfMemory, repeat_pixels
from torch import Tensor

from mair_cli.errors import MairError
from mair_cli.restore.settings import SMALLEST_TILE
from mair_cli.restore.tiled import TileFunction, run_tiled

Image = npt.NDArray[Any]
DTYPES = [np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32)]


def noise_image(height: int, width: int, dtype: np.dtype[Any], channels: int = 3) -> Image:
    generator = np.random.default_rng(height * 1000 + width)
    if dtype.kind == "f":
        return generator.random((height, width, channels), np.float32)
    return generator.integers(0, np.iinfo(dtype).max, (height, width, channels), endpoint=True, dtype=dtype)


def enlarged(image: Image, scale: int) -> Image:
    return image.repeat(scale, axis=0).repeat(scale, axis=1)


def assert_same(result: Image, image: Image, scale: int) -> None:
    assert result.dtype == image.dtype
    np.testing.assert_array_equal(result, enlarged(image, scale))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_length_and_overlap_gives_difference_zero(dtype: np.dtype[Any]) -> None:
    """Blending is separable: all lengths 1 … 67 are tried along one axis, all overlaps for each, the axis changing."""
    for length in range(1, 68):
        image = noise_image(length, 1, dtype, channels=1)
        for overlap in range(17):
            view = image if overlap % 2 else image.transpose(1, 0, 2)
            assert_same(run_tiled(TileFunction(repeat_pixels(1), 1), view, tile=16, overlap=overlap), view, 1)


@given(
    height=st.integers(1, 67),
    width=st.integers(1, 67),
    tile=st.integers(4, 70),
    overlap=st.integers(0, 70),
    scale=st.integers(1, 4),
    dtype=st.sampled_from(DTYPES),
    batch=st.integers(1, 5),
    align=st.sampled_from([1, 8, 16]),
    multiple=st.sampled_from([1, 8]),
)
@settings(max_examples=120, deadline=None, derandomize=True)
def test_tiled_equals_whole_for_any_size_overlap_scale_and_type(
    height: int,
    width: int,
    tile: int,
    overlap: int,
    scale: int,
    dtype: np.dtype[Any],
    batch: int,
    align: int,
    multiple: int,
) -> None:
    image = noise_image(height, width, dtype)
    network = TileFunction(repeat_pixels(scale), scale, multiple, align)
    result = run_tiled(network, image, tile=tile, overlap=overlap, batch=batch)
    assert_same(result, image, scale)


@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    tile=st.integers(32, 96),
    overlap=st.integers(0, 48),
    scale=st.integers(1, 3),
    batch=st.integers(1, 4),
    seed=st.integers(0, 2**32),
    often=st.sampled_from([0.1, 0.5, 1.0]),
)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_memory_running_out_at_random_calls_changes_nothing(
    height: int, width: int, tile: int, overlap: int, scale: int, batch: int, seed: int, often: float
) -> None:
    generator = random.Random(seed)
    # Tiles that could not be halved once more always fit; of all others each may fail, again and again.
    network = ShortOfMemory(
        repeat_pixels(scale), lambda _, x: max(x.shape[2:]) >= 2 * SMALLEST_TILE and generator.random() < often
    )
    image = noise_image(height, width, np.dtype(np.float32))
    result = run_tiled(TileFunction(network, scale), image, tile=tile, overlap=overlap, batch=batch)
    assert_same(result, image, scale)


OUT_OF_MEMORY: list[Callable[[], Exception]] = [
    lambda: torch.OutOfMemoryError("CUDA out of memory."),
    MemoryError,
    lambda: RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried …"),
    lambda: RuntimeError("[enforce fail at alloc_cpu.cpp:75] DefaultCPUAllocator: not enough memory: you tried …"),
    lambda: RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
    lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_every_way_of_saying_out_of_memory_is_understood(error: Callable[[], Exception]) -> None:
    network = ShortOfMemory(repeat_pixels(2), lambda _, x: max(x.shape[2:]) > 40, error)
    image = noise_image(70, 50, np.dtype(np.uint8))
    assert_same(run_tiled(TileFunction(network, 2), image, tile=64, overlap=8), image, 2)


def test_finished_tiles_are_not_run_again_and_later_ones_start_at_the_size_that_fits() -> None:
    network = ShortOfMemory(repeat_pixels(1), lambda call, x: call >= 2 and max(x.shape[2:]) > 32)
    image = noise_image(128, 128, np.dtype(np.uint8))
    assert_same(run_tiled(TileFunction(network, 1), image, tile=64, overlap=0), image, 1)
    assert network.shapes == [(1, 3, 64, 64)] * 3 + [(1, 3, 32, 32)] * 8


def test_a_batch_that_does_not_fit_is_run_one_by_one_before_tiles_are_halved() -> None:
    network = ShortOfMemory(repeat_pixels(1), lambda _, x: len(x) > 1)
    image = noise_image(64, 64, np.dtype(np.uint8))
    assert_same(run_tiled(TileFunction(network, 1), image, tile=32, overlap=0, batch=4), image, 1)
    assert network.shapes == [(4, 3, 32, 32)] + [(1, 3, 32, 32)] * 4


def test_a_whole_image_that_does_not_fit_is_tiled() -> None:
    network = ShortOfMemory(repeat_pixels(1), lambda _, x: max(x.shape[2:]) > 50)
    image = noise_image(90, 150, np.dtype(np.uint16))
    calls: list[tuple[int, int]] = []
    result = run_tiled(
        TileFunction(network, 1), image, tile=0, overlap=16, progress=lambda done, total: calls.append((done, total))
    )
    assert_same(result, image, 1)
    assert calls == [(done, len(calls)) for done in range(1, len(calls) + 1)]


def test_no_memory_at_all_ends_in_a_message_that_names_the_flag() -> None:
    network = ShortOfMemory(repeat_pixels(1), lambda _, x: True)
    with pytest.raises(MairError, match="`tile`"):
        run_tiled(TileFunction(network, 1), noise_image(64, 64, np.dtype(np.uint8)), tile=64, overlap=8)


def test_other_errors_are_not_taken_for_lack_of_memory() -> None:
    network = ShortOfMemory(repeat_pixels(1), lambda _, x: True, lambda: RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        run_tiled(TileFunction(network, 1), noise_image(64, 64, np.dtype(np.uint8)), tile=32, overlap=8)
    assert len(network.shapes) == 1


def test_an_interrupt_passes_through_at_once() -> None:
    def interrupt(x: Tensor) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_tiled(TileFunction(interrupt, 1), noise_image(64, 64, np.dtype(np.uint8)), tile=32, overlap=8)


def test_values_are_clipped_and_rounded_to_the_nearest() -> None:
    values = torch.tensor([-1.0, 0.4 / 255, 0.6 / 255, 254.6 / 255, 1.5])
    network = lambda x: values.view(1, 1, 1, 5).expand(1, 1, 1, 5)  # noqa: E731
    result = run_tiled(TileFunction(network, 1), np.zeros((1, 5, 1), np.uint8), tile=0, overlap=0)
    assert result.ravel().tolist() == [0, 0, 1, 255, 255]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_result_that_is_not_finite_is_an_error_not_a_black_picture(bad: float) -> None:
    with pytest.raises(MairError, match="`precision` fp32"):
        run_tiled(TileFunction(lambda x: x * bad, 1), np.full((8, 8, 3), 9, np.uint8), tile=0, overlap=0)


def test_a_result_too_large_for_memory_says_its_size() -> None:
    image = np.broadcast_to(np.zeros(1, np.uint8), (2**24, 2**24, 3))
    with pytest.raises(MairError, match=r"GiB.*`scale`"):
        run_tiled(TileFunction(repeat_pixels(4), 4), image, tile=64, overlap=8)


def test_progress_counts_every_tile_once_up_to_the_last() -> None:
    calls: list[tuple[int, int]] = []
    network = ShortOfMemory(repeat_pixels(1), lambda call, x: call == 3 and max(x.shape[2:]) > 20)
    image = noise_image(64, 96, np.dtype(np.uint8))
    run_tiled(
        TileFunction(network, 1),
        image,
        tile=32,
        overlap=0,
        batch=2,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(done, 6) for done in range(1, 7)]


def test_the_image_is_left_as_it_was() -> None:
    image = noise_image(40, 40, np.dtype(np.float32))
    before = image.copy()
    run_tiled(TileFunction(lambda x: x.mul_(0.5), 1), image, tile=16, overlap=8)
    np.testing.assert_array_equal(image, before)


def test_big_endian_and_strided_images_are_read_right() -> None:
    image = noise_image(40, 40, np.dtype(np.uint16))
    result = run_tiled(TileFunction(repeat_pixels(1), 1), image.astype(">u2")[::-1, ::2], tile=16, overlap=4)
    np.testing.assert_array_equal(result, image[::-1, ::2])


def test_tiles_are_reflected_to_multiples_even_from_a_single_pixel() -> None:
    for height, width in [(1, 1), (1, 9), (9, 1), (3, 17)]:
        network = ShortOfMemory(repeat_pixels(1), lambda _, x: False)
        image = noise_image(height, width, np.dtype(np.uint8))
        assert_same(run_tiled(TileFunction(network, 1, multiple=8), image, tile=8, overlap=2), image, 1)
        assert all(side % 8 == 0 for shape in network.shapes for side in shape[2:])


@pytest.mark.parametrize(
    "error",
    [
        lambda: RuntimeError("could not create a primitive"),
        lambda: RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        lambda: MemoryError("Allocation failed (probably too large)."),
        lambda: SystemError("<built-in method> returned NULL without setting an exception"),
    ],
)
def test_lack_of_memory_is_known_by_all_its_names(error: Callable[[], Exception]) -> None:
    image = noise_image(64, 64, np.dtype(np.uint8))
    network = ShortOfMemory(repeat_pixels(1), lambda _, x: max(x.shape[2:]) > 32, error)
    assert_same(run_tiled(TileFunction(network, 1), image, tile=64, overlap=8), image, 1)
    hopeless = ShortOfMemory(repeat_pixels(1), lambda _, x: True, error)
    with pytest.raises(MairError, match="smaller ones would not help"):
        run_tiled(TileFunction(hopeless, 1), image, tile=64, overlap=8)


def test_another_runtime_error_is_no_lack_of_memory() -> None:
    network = ShortOfMemory(repeat_pixels(1), lambda _, x: True, lambda: RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        run_tiled(TileFunction(network, 1), noise_image(64, 64, np.dtype(np.uint8)), tile=64, overlap=8)
