"""Training patches: what is cut, turned and made noisy, and that it follows from seed and step alone."""

from __future__ import annotations

import multiprocessing
import threading
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest
from tiny_runs import texture

from mair_cli.datasets.degradations import Kernel, reduce_image
from mair_cli.errors import TrainingError
from mair_cli.training.degrading import Drawn, degraded_patch
from mair_cli.training.images import ImagePair, make_pair
from mair_cli.training.patches import Batch, PatchSource, detail, loaded, prefetched, turned
from mair_cli.training.recipe import DegradationSettings


def blocky(scale: int) -> ImagePair:
    """A pair whose target repeats every input pixel, so that any misalignment shows."""
    low = texture(3)
    return ImagePair("blocky", low, low.repeat(scale, 0).repeat(scale, 1))


def bytes_of(batch: Batch) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    low, high = batch.low.numpy(), batch.high.numpy()
    return low, high.astype(np.float32) / np.float32(255) if high.dtype == np.uint8 else high


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_input_and_target_patches_lie_on_one_another_under_all_turns(scale: int) -> None:
    batch = PatchSource([blocky(scale)], scale, seed=0).batch(0, 9, 32)
    low, high = bytes_of(batch)
    assert low.shape == (32, 3, 9, 9)
    np.testing.assert_array_equal(low.repeat(scale, 2).repeat(scale, 3), high)
    assert low.min() >= 0
    assert low.max() <= 1


def test_a_batch_follows_from_seed_and_step_alone() -> None:
    def batch(seed: int, step: int) -> npt.NDArray[np.float32]:
        return bytes_of(PatchSource([blocky(2)], 2, seed, DegradationSettings(noise=(0, 50))).batch(step, 8, 4))[0]

    np.testing.assert_array_equal(batch(1, 5), batch(1, 5))
    assert not np.array_equal(batch(1, 5), batch(1, 6))
    assert not np.array_equal(batch(1, 5), batch(2, 5))


@pytest.mark.parametrize("world", [2, 4])
def test_the_slices_of_several_processes_make_up_the_batch_of_one(world: int) -> None:
    source = PatchSource(
        [blocky(2), make_pair("other", texture(8), 2)], 2, 7, DegradationSettings(noise=(10, 50), jpeg=(20, 90))
    )
    whole = source.batch(3, 8, 8)
    parts = [source.batch(3, 8, 8, rank, world) for rank in range(world)]
    np.testing.assert_array_equal(whole.low, np.concatenate([part.low for part in parts]))
    np.testing.assert_array_equal(whole.high, np.concatenate([part.high for part in parts]))
    np.testing.assert_array_equal(whole.noise_level, np.concatenate([part.noise_level for part in parts]))
    np.testing.assert_array_equal(whole.jpeg_level, np.concatenate([part.jpeg_level for part in parts]))


def test_all_eight_turns_are_different_and_all_are_drawn() -> None:
    image = texture(2, 8, 8)
    views = {turned(image, turn).tobytes() for turn in range(8)}
    assert len(views) == 8
    low, _ = bytes_of(PatchSource([ImagePair("x", image, image)], 1, 0).batch(0, 8, 200))
    seen = {(np.rint(patch.transpose(1, 2, 0) * 255)).astype(np.uint8).tobytes() for patch in low}
    assert seen == views


def test_every_pixel_is_as_likely_whatever_image_it_lies_in() -> None:
    flat = [ImagePair(str(v), np.full((side, side, 3), v, np.uint8), np.full((side, side, 3), v, np.uint8))
            for v, side in ((0, 40), (255, 20))]  # fmt: skip
    low, _ = bytes_of(PatchSource(flat, 1, 0).batch(0, 4, 2000))
    assert low[:, 0, 0, 0].mean() == pytest.approx(0.2, abs=0.03)


def test_every_image_is_as_likely_where_asked_for() -> None:
    flat = [ImagePair(str(v), np.full((side, side, 3), v, np.uint8), np.full((side, side, 3), v, np.uint8))
            for v, side in ((0, 40), (255, 20))]  # fmt: skip
    low, _ = bytes_of(PatchSource(flat, 1, 0, equally=True).batch(0, 4, 2000))
    assert low[:, 0, 0, 0].mean() == pytest.approx(0.5, abs=0.03)


def test_mixtures_are_of_two_patches_in_the_drawn_ratio_and_input_and_target_alike() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 32:] = 200
    pair = ImagePair("halves", image, 255 - image)

    def batch(**options: float) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        return bytes_of(PatchSource([pair], 1, 0, **options).batch(0, 1, 4000))  # type: ignore[arg-type]

    plain, _ = batch()
    mixed, target = batch(mixup=1.2)
    np.testing.assert_allclose(mixed + target, 1, atol=1e-6)
    between = mixed[:, 0, 0, 0] / (200 / 255)
    # Half of the pairs are of two colours; of those the share of white is the ratio, Beta(1.2, 1.2): variance 0.25/3.4.
    ratios = between[(between > 1e-6) & (between < 1 - 1e-6)]
    assert len(ratios) / 4000 == pytest.approx(0.5, abs=0.03)
    assert ratios.mean() == pytest.approx(0.5, abs=0.03)
    assert ratios.var() == pytest.approx(0.25 / 3.4, abs=0.006)
    seldom, _ = batch(mixup=1.2, mixup_share=0.3)
    assert (seldom == plain).mean() == pytest.approx(1 - 0.3 * 0.5, abs=0.03)


@pytest.mark.parametrize("world", [2, 4])
def test_mixtures_are_the_same_for_several_processes(world: int) -> None:
    source = PatchSource([blocky(2)], 2, 7, mixup=1.2)
    parts = [source.batch(3, 8, 8, rank, world).low for rank in range(world)]
    np.testing.assert_array_equal(source.batch(3, 8, 8).low, np.concatenate(parts))


def test_noise_has_the_drawn_level_and_the_target_stays_clean() -> None:
    gray = np.full((64, 64, 3), 128, np.uint8)
    batch = PatchSource([ImagePair("gray", gray, gray)], 1, 0, DegradationSettings(noise=(10, 60))).batch(0, 48, 16)
    levels = batch.noise_level.numpy() * 255
    np.testing.assert_array_equal(bytes_of(batch)[1], np.float32(128) / np.float32(255))
    measured = (bytes_of(batch)[0] - bytes_of(batch)[1]).std(axis=(1, 2, 3)) * 255
    np.testing.assert_allclose(measured, levels, rtol=0.05)
    assert levels.min() >= 10
    assert levels.max() <= 60
    assert np.ptp(levels) > 20


def test_candidates_prefer_detail() -> None:
    image = texture(4, 96, 96)
    image[:, :48] = 128
    pair = ImagePair("half", image, image)

    def richness(candidates: int) -> float:
        high = bytes_of(PatchSource([pair], 1, 0, candidates=candidates).batch(0, 8, 64))[1]
        return float(np.mean([detail((patch.transpose(1, 2, 0) * 255).astype(np.uint8)) for patch in high]))

    assert richness(4) > 1.3 * richness(1)


def test_an_image_smaller_than_a_patch_is_named() -> None:
    source = PatchSource([blocky(1), make_pair("small.png", texture(0, 20, 30), 2)], 2, 0)
    source.check(10)
    with pytest.raises(TrainingError, match=r"small\.png is smaller than a patch"):
        source.check(11)


def test_prefetched_batches_come_in_order_and_from_other_threads() -> None:
    source, threads = PatchSource([blocky(2)], 2, 0), set()

    def make(step: int) -> Batch:
        threads.add(threading.current_thread())
        return source.batch(step, 8, 2)

    for step, batch in enumerate(prefetched(make, 5, 25, workers=3), 5):
        np.testing.assert_array_equal(batch.low, source.batch(step, 8, 2).low)
    assert step == 24
    assert threading.current_thread() not in threads


def test_processes_prepare_the_batches_that_threads_do_and_end_when_the_loop_is_left() -> None:
    source = PatchSource([blocky(2)], 2, 0, DegradationSettings(noise=(0, 50)), equally=True)
    make = partial(source.batch, patch=8, batch=2)
    for here, there in zip(prefetched(make, 5, 15), loaded(make, 5, 15, workers=2), strict=True):
        for expected, found in zip(here, there, strict=True):
            np.testing.assert_array_equal(expected, found)
    batches = loaded(make, 0, 1000, workers=2)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches.close()
    assert not multiprocessing.active_children()


def test_an_error_while_preparing_reaches_the_loop_and_leaving_stops_the_threads() -> None:
    def make(step: int) -> Batch:
        if step == 6:
            raise TrainingError("no disk")
        return PatchSource([blocky(2)], 2, 0).batch(step, 8, 2)

    with pytest.raises(TrainingError, match="no disk"):
        list(prefetched(make, 0, 10))
    batches = prefetched(make, 0, 6)
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("patches") and thread.is_alive()]


def degraded(settings_: DegradationSettings, count: int = 400, scale: int = 2) -> Batch:
    return PatchSource([make_pair("x", texture(4, 96, 96), scale)], scale, 3, settings_).batch(0, 8, count)


def test_shares_of_clean_noisy_and_compressed_patches_are_as_asked() -> None:
    batch = degraded(
        DegradationSettings(
            clean_share=0.3, noise=(5, 20), noise_share=0.4, jpeg=(30, 90), jpeg_share=0.8, jpeg_after_noise_share=0.5
        ),
        4000,
    )
    noisy, compressed = batch.noise_level.numpy() > 0, batch.jpeg_level.numpy() > 0
    assert (~noisy & ~compressed).mean() == pytest.approx(0.3 + 0.7 * 0.6 * 0.2, abs=0.025)
    assert noisy.mean() == pytest.approx(0.7 * 0.4, abs=0.025)
    assert (noisy & compressed).mean() == pytest.approx(0.7 * 0.4 * 0.5, abs=0.02)
    levels = batch.jpeg_level.numpy()[compressed]
    assert (round(float(levels.min()), 2), round(float(levels.max()), 2)) == (0.10, 0.70)


def test_a_clean_patch_is_the_image_itself_whatever_the_others_go_through() -> None:
    batch = degraded(DegradationSettings(clean_share=0.5, jpeg=(20, 30)))
    untouched = degraded(DegradationSettings())
    same = np.abs(batch.low.numpy() - untouched.low.numpy()).max(axis=(1, 2, 3)) == 0
    np.testing.assert_array_equal(same, batch.jpeg_level.numpy() == 0)


def test_told_is_the_last_of_two_compressions_and_both_leave_traces() -> None:
    once = degraded(DegradationSettings(jpeg=(30, 90)))
    twice = degraded(DegradationSettings(jpeg=(30, 90), twice_share=1.0))
    np.testing.assert_array_equal(once.jpeg_level, twice.jpeg_level)
    differs = np.abs(once.low.numpy() - twice.low.numpy()).max(axis=(1, 2, 3)) > 0
    assert differs.mean() > 0.9


def test_the_grid_of_a_compression_lies_at_any_phase_against_the_patch() -> None:
    # One bright column in a gray image: ringing fills the compression's 8-pixel block, whose border tells the phase.
    image = np.full((64, 64, 3), 128, np.uint8)
    image[:, 40] = 255
    rng = np.random.default_rng(0)
    firsts = []
    for column in range(16):
        drawn = Drawn("bicubic", 0.0, (20,), "4:4:4", (0, column))
        patch = degraded_patch(image, image, (16, 24), 32, drawn, rng)
        assert patch.shape == (32, 32, 3)
        firsts.append(int(np.flatnonzero((patch[0] != 128).any(axis=1))[0]))
    assert firsts == [16 - (column % 8) if column % 8 else 16 for column in range(16)]


@pytest.mark.parametrize("kernel", ["lanczos", "area", "bilinear"])
def test_other_kernels_cut_from_the_middle_what_they_make_of_the_whole(kernel: Kernel) -> None:
    pair = make_pair("x", texture(6, 96, 120), 4)
    whole = reduce_image(pair.high, 4, kernel)
    assert np.abs(whole.astype(int) - pair.low).max() > 3
    for corner in ((0, 0), (8, 11), (16, 22)):
        drawn = Drawn(kernel, 0.0, (), "4:2:0", (0, 0))
        patch = degraded_patch(pair.low, pair.high, corner, 8, drawn, np.random.default_rng(0))
        np.testing.assert_array_equal(patch, whole[corner[0] : corner[0] + 8, corner[1] : corner[1] + 8])
