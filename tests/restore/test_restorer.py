"""The Restorer: any image kind in, the same kind out, and clear words where a setting cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

import mair_cli
from mair_cli.errors import BackendError, UsageError, WeightsNotFoundError
from mair_cli.networks import MaIRConfig, build_network
from mair_cli.restore.restorer import Restorer
from mair_cli.restore.settings import Levels, RunSettings
from mair_cli.weights import cache, catalog
from mair_cli.weights.checkpoint import save_checkpoint

SMALL = MaIRConfig(upscale=1, embed_dim=8, depths=(1, 1), upsampler=None, noise_level_map=True)


@pytest.fixture(scope="module")
def upscaler(golden: Path) -> Restorer:
    return Restorer(weights=golden / "light_d1_x4.pth", stripe=8, device="cpu")


@pytest.fixture(scope="module")
def any_level(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A denoiser that is told the noise level, with weights that make the level matter."""
    torch.manual_seed(0)
    network = build_network(SMALL)
    path = tmp_path_factory.mktemp("weights") / "any.safetensors"
    save_checkpoint(path, network.state_dict(), SMALL, {})
    return path


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9, 3), (33, 20, 3), (12, 17)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_kind_and_axes_stay_and_sides_grow(upscaler: Restorer, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    result = upscaler(np.zeros(shape, dtype))
    assert result.dtype == dtype
    assert result.shape == (shape[0] * 4, shape[1] * 4, *shape[2:])


def test_sixteen_bits_are_really_sixteen(upscaler: Restorer, photograph: npt.NDArray[np.uint8]) -> None:
    wide = upscaler(photograph[:24, :24].astype(np.uint16) * 257)
    floats = upscaler(photograph[:24, :24].astype(np.float32) / np.float32(255))
    assert len(np.unique(wide)) > 256
    assert np.abs(wide / 65535 - floats).max() < 1e-4


def test_a_gray_image_is_restored_as_its_colours_would_be(
    upscaler: Restorer, photograph: npt.NDArray[np.uint8]
) -> None:
    gray = photograph[:24, :24, 1]
    colour = upscaler(np.repeat(gray[..., None], 3, axis=2))
    inside = ((colour > 0) & (colour < 255)).all(axis=2)  # clipping acts on colours and on gray at different points
    difference = np.abs(upscaler(gray) - colour.astype(float) @ [0.299, 0.587, 0.114])
    assert inside.any()
    assert difference[inside].max() <= 1


def test_the_network_alone_and_the_restorer_agree(golden: Path, photograph: npt.NDArray[np.uint8]) -> None:
    restorer = Restorer(weights=golden / "light_d1_x4.pth", stripe=8, device="cpu", tile=0)
    image = photograph[:30, :40].astype(np.float32) / np.float32(255)
    with torch.inference_mode():
        expected = restorer.network(torch.from_numpy(image).permute(2, 0, 1)[None]).clamp(0, 1)[0].permute(1, 2, 0)
    np.testing.assert_allclose(restorer(image), expected.numpy(), atol=1e-5)


def test_the_description_names_weights_back_end_and_device(upscaler: Restorer) -> None:
    assert "light_d1_x4.pth" in upscaler.description
    assert upscaler.backend in upscaler.description
    assert "CPU" in upscaler.description


def test_the_forced_back_end_is_the_one_that_runs(golden: Path, photograph: npt.NDArray[np.uint8]) -> None:
    one, other = (
        Restorer(weights=golden / "light_d1_x4.pth", stripe=8, device="cpu", backend=backend)
        for backend in ("reference", "auto")
    )
    assert one.backend == "reference"
    assert all(m.scan_backend == "reference" for m in one.network.modules() if hasattr(m, "scan_backend"))
    np.testing.assert_allclose(one(photograph[:12, :12]).astype(int), other(photograph[:12, :12]), atol=1)


def test_the_u_shaped_network_restores_any_size_tiled_or_whole(golden: Path, photograph: npt.NDArray[np.uint8]) -> None:
    restorer = Restorer(weights=golden / "unet_stripe4.pth", stripe=4, device="cpu", tile=24, overlap=8)
    for height, width in [(1, 1), (3, 30), (37, 41)]:
        assert restorer(photograph[:height, :width]).shape == (height, width, 3)


def test_an_ensemble_is_another_result_of_the_same_shape(golden: Path, photograph: npt.NDArray[np.uint8]) -> None:
    plain, mean = (
        Restorer(weights=golden / "light_d1_x4.pth", stripe=8, device="cpu", ensemble=wanted)
        for wanted in (False, True)
    )
    image = photograph[:16, :24]
    assert mean(image).shape == plain(image).shape
    assert (mean(image) != plain(image)).any()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_stays_near_full_precision(
    golden: Path, photograph: npt.NDArray[np.uint8], precision: str
) -> None:
    full, half = (
        Restorer(weights=golden / "light_d1_x4.pth", stripe=8, device="cpu", precision=name)
        for name in ("fp32", precision)
    )
    difference = np.abs(full(photograph[:24, :24]).astype(int) - half(photograph[:24, :24]))
    assert difference.mean() < 3


def test_the_noise_level_is_told_to_networks_that_take_it(any_level: Path, photograph: npt.NDArray[np.uint8]) -> None:
    restorer = Restorer("denoise", weights=any_level, device="cpu", sigma=50)
    image = photograph[:32, :32].astype(np.float32) / np.float32(255)
    assert restorer.levels(image).sigma == 50
    assert restorer.levels(image, sigma=10).sigma == 10
    assert (restorer(image) != restorer(image, sigma=5)).any()


def test_auto_estimates_the_noise_level_of_each_image(any_level: Path, photograph: npt.NDArray[np.uint8]) -> None:
    restorer = Restorer("denoise", weights=any_level, device="cpu", sigma="auto")
    noise = np.random.default_rng(0).normal(0, 25, photograph.shape)
    noisy = np.rint((photograph + noise).clip(0, 255)).astype(np.uint8)
    assert restorer.levels(noisy).sigma == pytest.approx(25, rel=0.15)
    assert 0 < (restorer.levels(np.full((40, 40), 90, np.uint8)).sigma or 0) < 1


@pytest.fixture(scope="module")
def leveled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enlarges ×2 and is told both levels, with weights that make them matter."""
    torch.manual_seed(1)
    config = MaIRConfig(upscale=2, embed_dim=8, depths=(1,), noise_level_map=True, jpeg_level_map=True)
    network = build_network(config)
    path = tmp_path_factory.mktemp("weights") / "leveled.safetensors"
    save_checkpoint(path, network.state_dict(), config, {})
    return path


def test_the_quality_of_a_file_is_told_unless_the_user_knows_better(
    leveled: Path, photograph: npt.NDArray[np.uint8]
) -> None:
    image = photograph[:16, :16]
    by_file = Restorer("sr", weights=leveled, device="cpu")
    assert by_file.levels(image, file_quality=60) == Levels(0.0, 60, "nothing known", "file")
    assert by_file.levels(image) == Levels(0.0, None)
    assert by_file.levels(image, file_quality=60, jpeg="off").jpeg is None
    assert by_file.levels(image, file_quality=60, jpeg=30) == Levels(0.0, 30, "nothing known", "told")
    told = Restorer("sr", weights=leveled, device="cpu", jpeg=30, sigma=5)
    assert told.levels(image, file_quality=60) == Levels(5.0, 30, "told", "told")
    assert (told(image) != by_file(image)).any()
    np.testing.assert_array_equal(told(image), by_file(image, sigma=5, jpeg=30))


def test_told_levels_reach_the_network_on_its_own_scale(leveled: Path, photograph: npt.NDArray[np.uint8]) -> None:
    restorer = Restorer("sr", weights=leveled, device="cpu", tile=0, sigma=25, jpeg=75)
    image = photograph[:20, :20].astype(np.float32) / np.float32(255)
    with torch.inference_mode():
        x = torch.from_numpy(image).permute(2, 0, 1)[None]
        expected = restorer.network(x, noise_level=25 / 255, jpeg_level=0.25).clamp(0, 1)[0].permute(1, 2, 0)
    np.testing.assert_allclose(restorer(image), expected.numpy(), atol=1e-5)


def test_a_network_without_levels_takes_no_notice_and_says_so_once(
    golden: Path, photograph: npt.NDArray[np.uint8], caplog: pytest.LogCaptureFixture
) -> None:
    restorer = Restorer("sr", weights=golden / "light_d1_x4.pth", stripe=8, device="cpu", sigma=10)
    for _ in range(2):
        assert restorer.levels(photograph[:8, :8], file_quality=50) == Levels()
    assert [record.message.count("takes no notice") for record in caplog.records] == [1, 1]  # noise, JPEG


def test_one_value_holds_all_settings_and_says_what_it_does_not_know(leveled: Path) -> None:
    settings = RunSettings(task="sr", weights=leveled, device="cpu", sigma=3)
    assert Restorer(settings).settings == Restorer("sr", weights=leveled, device="cpu", sigma=3).settings
    with pytest.raises(UsageError, match="device"):
        Restorer(settings, device="cpu")
    assert settings.to_mapping()["weights"] == str(leveled)
    assert settings.with_(stripe=4).to_mapping() != settings.to_mapping()


def test_a_missing_noise_level_is_asked_for(any_level: Path) -> None:
    with pytest.raises(UsageError, match="`sigma`"):
        Restorer("denoise", weights=any_level, device="cpu")(np.zeros((8, 8, 3), np.uint8))


def test_other_networks_have_no_noise_level(upscaler: Restorer) -> None:
    assert upscaler.levels(np.zeros((8, 8, 3), np.uint8), sigma=25).sigma is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tile": -1}, "`tile`"),
        ({"tile": "big"}, "`tile`"),
        ({"overlap": -1}, "`overlap`"),
        ({"tile": 64, "overlap": 40}, "`overlap`"),
        ({"tile": 64, "partition": True}, "partition"),
        ({"sigma": -1}, "`sigma`"),
        ({"jpeg": 0}, "`jpeg`"),
        ({"jpeg": True}, "`jpeg`"),
        ({"tiel": 5}, "did you mean 'tile'"),
        ({"sigma": 76}, "`sigma`"),
        ({"sigma": float("nan")}, "`sigma`"),
        ({"precision": "fp8"}, "`precision`"),
        ({"device": "tpu"}, "`device`"),
        ({"backend": "magic"}, "magic"),
        ({"scale": 5}, "`scale`"),
        ({"scale": 2, "weights": "light_d1_x4.pth", "stripe": 8}, "`scale`"),
        ({"task": "denoise", "weights": "light_d1_x4.pth", "stripe": 8}, "denoise"),
        ({"model": "mair-t-x4", "weights": "light_d1_x4.pth"}, "`weights`"),
        ({"stripe": 8}, "`weights`"),
        ({"task": "sr", "model": "mair-cdn-s25"}, "mair-cdn-s25"),
        ({"model": "mair-t-x5"}, "mair-t-x"),
        ({"task": "sharpen"}, "sharpen"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(golden: Path, settings: dict[str, object], words: str) -> None:
    if "weights" in settings:
        settings = settings | {"weights": golden / str(settings["weights"])}
    with pytest.raises(UsageError, match=words):
        Restorer(**settings)  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_a_missing_gpu_is_said_not_worked_around(golden: Path) -> None:
    with pytest.raises(BackendError, match="`device` cuda"):
        Restorer(weights=golden / "light_d1_x4.pth", stripe=8, device="cuda")


def test_weights_that_are_not_here_name_the_command_that_fetches_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIR_CACHE_DIR", str(tmp_path))
    with pytest.raises(WeightsNotFoundError, match="mair download mair-sr-x4"):
        Restorer(model="mair-sr-x4")
    with pytest.raises(WeightsNotFoundError, match="mair download"):
        Restorer("real-denoise")


def test_published_weights_in_the_cache_are_taken_before_bundled_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIR_CACHE_DIR", str(tmp_path))
    entry = catalog.MODELS["mair-t-x2"]
    config = MaIRConfig(upscale=2, embed_dim=8, depths=(1,))
    cache.weights_file(entry).parent.mkdir(parents=True)
    save_checkpoint(cache.weights_file(entry), build_network(config).state_dict(), config, {})
    restorer = Restorer("sr", scale=2, device="cpu")
    assert (restorer.model_name, restorer.task, restorer.scale) == ("mair-t-x2", "sr", 2)
    assert "published" in restorer.description


def test_the_nearest_of_fixed_noise_levels_is_taken_where_no_denoiser_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cache, "BUNDLED_DIR", tmp_path)
    config = MaIRConfig(upscale=1, embed_dim=8, depths=(1,), upsampler=None)
    for name in ("mair-cdn-s15", "mair-cdn-s50"):
        path = cache.weights_file(catalog.MODELS[name])
        path.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(path, build_network(config).state_dict(), config, {})
    assert Restorer("denoise", sigma=40, device="cpu").model_name == "mair-cdn-s50"
    assert Restorer("denoise", sigma="auto", device="cpu").model_name == "mair-cdn-s15"


@pytest.mark.skipif(not cache.is_available(catalog.MODELS["mair-lite-x4"]), reason="no bundled weights")
def test_real_weights_tiled_by_default_settings_match_the_whole_image(photograph: npt.NDArray[np.uint8]) -> None:
    tiled = mair_cli.Restorer(device="cpu")(photograph).astype(float)
    whole = mair_cli.Restorer(device="cpu", tile=0)(photograph)
    error = ((tiled - whole) ** 2).mean()
    assert 10 * np.log10(255**2 / max(error, 1e-9)) >= 45
