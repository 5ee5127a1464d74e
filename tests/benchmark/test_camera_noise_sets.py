"""SIDD's validation blocks are measured as they are stored; DND's crops become what its server takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mair_cli.benchmark.dnd import bundle_dnd
from mair_cli.datasets import mat_files
from mair_cli.datasets.mat_files import SIDD_NOISY, SIDD_TRUTH
from mair_cli.datasets.pairs import find_samples
from mair_cli.errors import ImageError, UsageError
from mair_cli.measure.protocol import MeasureProtocol, load_pair, measure

scipy_io = pytest.importorskip("scipy.io")
h5py = pytest.importorskip("h5py")

REAL = MeasureProtocol("real-denoise")


@pytest.fixture
def sidd(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """2 scenes of 3 blocks, 16 pixels a side: truth and noisy."""
    truth, noisy = np.random.default_rng(0).integers(0, 256, (2, 2, 3, 16, 16, 3), dtype=np.uint8)
    scipy_io.savemat(tmp_path / SIDD_TRUTH, {Path(SIDD_TRUTH).stem: truth})
    scipy_io.savemat(tmp_path / SIDD_NOISY, {Path(SIDD_NOISY).stem: noisy})
    return tmp_path, truth, noisy


def test_each_block_of_sidd_is_a_pair(sidd: tuple[Path, np.ndarray, np.ndarray]) -> None:
    folder, truth, noisy = sidd
    samples = find_samples(folder, "real-denoise").samples
    assert [sample.name for sample in samples] == [f"block {number:04}" for number in range(1, 7)]
    pair = load_pair(samples[4], REAL)
    np.testing.assert_array_equal(pair.truth, truth[1, 1])
    np.testing.assert_array_equal(pair.degraded, noisy[1, 1])


def test_tasks_of_the_u_shaped_network_are_measured_with_both_kinds_of_ssim(
    sidd: tuple[Path, np.ndarray, np.ndarray],
) -> None:
    pair = load_pair(find_samples(sidd[0], "real-denoise").samples[0], REAL)
    both = measure(pair.degraded, pair.truth, REAL.crop, REAL.kind.measured_whole)
    assert both.ssim_3d is not None
    assert both.ssim_3d != both.ssim_rgb
    assert not MeasureProtocol("sr", 4).kind.measured_whole
    assert measure(pair.degraded, pair.truth, 0).ssim_3d is None


def test_files_that_are_not_sidds_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / SIDD_NOISY).write_bytes(b"no MATLAB file")
    scipy_io.savemat(tmp_path / SIDD_TRUTH, {Path(SIDD_TRUTH).stem: np.zeros((2, 3), np.uint8)})
    with pytest.raises(UsageError, match=rf"{SIDD_TRUTH}: it holds no ValidationGtBlocksSrgb"):
        find_samples(tmp_path, "real-denoise")
    with pytest.raises(ImageError, match="not a MATLAB file"):
        mat_files.read_block(tmp_path / SIDD_NOISY, 0)
    monkeypatch.setitem(__import__("sys").modules, "scipy.io", None)
    with pytest.raises(UsageError, match=r"needs scipy: pip install 'mair-cli\[mat\]'"):
        mat_files.read_block(tmp_path / SIDD_TRUTH, 1)


@pytest.fixture
def dnd(tmp_path: Path) -> tuple[Path, list[np.ndarray]]:
    """2 photographs with 2 boxes each, stored as MATLAB stores them: axes turned round, counting from 1."""
    folder, images = tmp_path / "dnd", []
    (folder / "images_srgb").mkdir(parents=True)
    with h5py.File(folder / "info.mat", "w") as info:
        references = np.empty((1, 2), dtype=h5py.ref_dtype)
        for number in range(2):
            image = np.random.default_rng(number).random((30, 40, 3), dtype=np.float32)
            images.append(image)
            with h5py.File(folder / "images_srgb" / f"{number + 1:04}.mat", "w") as file:
                file["InoisySRGB"] = image.T
            boxes = np.array([[1.0, 1, 12, 16], [19, 25, 30, 40]])  # top, left, bottom, right
            references[0, number] = info.create_dataset(f"boxes{number}", data=boxes.T).ref
        info.create_group("info")["boundingboxes"] = references
    return folder, images


def _halved(count: list[int]) -> Callable[[np.ndarray], np.ndarray]:
    def restore(image: np.ndarray) -> np.ndarray:
        count.append(image.shape[0])
        return image * 2 - np.float32(0.5)

    return restore


def test_the_bundle_holds_the_crops_of_each_photograph_restored(
    dnd: tuple[Path, list[np.ndarray]], tmp_path: Path
) -> None:
    folder, images = dnd
    seen: list[int] = []
    assert bundle_dnd(folder, tmp_path / "bundle", _halved(seen), {"weights": "a"}) == 2
    content = scipy_io.loadmat(tmp_path / "bundle" / "0002.mat")
    first, second = content["Idenoised"].ravel()
    np.testing.assert_allclose(first, (images[1][:12, :16] * 2 - 0.5).clip(0, 1), atol=1e-6)
    np.testing.assert_allclose(second, (images[1][18:30, 24:40] * 2 - 0.5).clip(0, 1), atol=1e-6)
    assert (content["israw"].item(), content["eval_version"].item()) == (0, "1.0")
    assert len(seen) == 4


def test_a_bundle_goes_on_where_it_was_and_is_not_mixed_with_another_networks(
    dnd: tuple[Path, list[np.ndarray]], tmp_path: Path
) -> None:
    seen: list[int] = []
    bundle_dnd(dnd[0], tmp_path / "bundle", _halved(seen), {"weights": "a"})
    (tmp_path / "bundle" / "0001.mat").unlink()
    assert bundle_dnd(dnd[0], tmp_path / "bundle", _halved(seen), {"weights": "a"}) == 1
    assert len(seen) == 6
    with pytest.raises(UsageError, match="another network"):
        bundle_dnd(dnd[0], tmp_path / "bundle", _halved(seen), {"weights": "b"})


def test_dnd_cannot_be_measured_and_other_folders_make_no_bundle(
    dnd: tuple[Path, list[np.ndarray]], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="server has its ground truth"):
        find_samples(dnd[0], "real-denoise")
    with pytest.raises(UsageError, match="not laid out as DND"):
        bundle_dnd(tmp_path, tmp_path / "bundle", _halved([]), {})
