"""Baselines and networks restore what the protocol hands them, and say what they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mair_cli.benchmark.methods import BASELINES, build_method, weights_digest
from mair_cli.benchmark.runs import Benchmark
from mair_cli.datasets.noise import add_published_noise
from mair_cli.errors import UsageError
from mair_cli.measure.metrics import psnr
from mair_cli.measure.protocol import MeasureProtocol
from mair_cli.networks import build_network
from mair_cli.restore.settings import RunSettings
from mair_cli.weights.checkpoint import save_checkpoint

CPU = RunSettings(device="cpu", partition=True)


def _photo(size: int = 64) -> np.ndarray:
    y, x = np.mgrid[0:size, 0:size]
    return np.stack([100 + 80 * np.sin(x / 9), 90 + y, 128 + 60 * np.cos((x + y) / 12)], axis=-1).astype(np.uint8)


def test_enlarging_baselines_give_the_scaled_size() -> None:
    task = MeasureProtocol("sr", 3)
    for name in ("bicubic", "nearest"):
        method = build_method(name, task, CPU)
        method.warm_up()
        assert method.restore(_photo(16)).shape == (48, 48, 3)
        assert method.info.kind == "baseline"


def test_baselines_are_for_their_task_only() -> None:
    with pytest.raises(UsageError, match="`model` bicubic"):
        build_method("bicubic", MeasureProtocol("denoise", sigma=25), CPU)
    with pytest.raises(UsageError, match="nearest"):
        build_method("none", MeasureProtocol("sr", 4), CPU)


def test_non_local_means_removes_noise() -> None:
    pytest.importorskip("skimage")
    task = MeasureProtocol("denoise", sigma=25)
    noisy = add_published_noise(_photo(), 25)
    plain = psnr(build_method("none", task, CPU).restore(noisy), _photo())
    assert psnr(build_method("nl-means", task, CPU).restore(noisy), _photo()) > plain + 5


def test_baseline_whose_package_is_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"mair-cli\[baselines\]"):
        build_method("nl-means", MeasureProtocol("denoise", sigma=25), CPU)


def test_published_partition_is_what_a_model_does_by_default(golden: Path) -> None:
    image = np.asarray(Image.open(golden / "partition_input.png").convert("RGB"))
    expected = np.asarray(Image.open(golden / "partition_output_light_d1_x4.png").convert("RGB"))
    method = build_method(
        "checkpoint", MeasureProtocol("sr", 4), CPU.with_(weights=golden / "light_d1_x4.pth", stripe=8)
    )
    output = method.restore(image)
    difference = np.abs(output.astype(int) - expected.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


def test_tiles_of_ones_own_give_another_result_than_the_partition(golden: Path) -> None:
    image = _photo(48)
    file = CPU.with_(weights=golden / "light_d1_x4.pth", stripe=8)
    runs = (file, file.with_(partition=False, tile=24))
    outputs = [build_method("x", MeasureProtocol("sr", 4), run).restore(image) for run in runs]
    assert outputs[0].shape == outputs[1].shape == (192, 192, 3)
    assert (outputs[0] != outputs[1]).any()


def test_denoiser_sees_the_noise_beyond_black_and_white(golden: Path) -> None:
    task = MeasureProtocol("denoise", sigma=50)
    method = build_method("d", task, CPU.with_(weights=golden / "denoise.pth", stripe=4))
    noisy = add_published_noise(np.full((32, 32, 3), 250, np.uint8), 50)
    assert (method.restore(noisy) != method.restore(noisy.clip(0, 1))).any()


def test_model_for_another_scale_is_refused(golden: Path) -> None:
    with pytest.raises(UsageError, match="`scale` 2"):
        build_method("x", MeasureProtocol("sr", 2), CPU.with_(weights=golden / "light_d1_x4.pth", stripe=8))


def test_weights_are_known_by_their_values_whatever_the_file(golden: Path, tmp_path: Path) -> None:
    task, file = MeasureProtocol("sr", 4), CPU.with_(weights=golden / "light_d1_x4.pth", stripe=8)
    first = build_method("a", task, file)
    network = build_network({"upscale": 4, "embed_dim": 12, "depths": (1,), "scan_len": 8})
    save_checkpoint(tmp_path / "b.safetensors", network.state_dict(), network.config, {})
    other = build_method("b", task, CPU.with_(weights=tmp_path / "b.safetensors"))
    assert first.info.weights == build_method("c", task, file).info.weights
    assert first.info.weights != other.info.weights == weights_digest(network)
    with torch.no_grad():
        next(network.parameters()).add_(1e-3)
    assert weights_digest(network) != other.info.weights
    assert other.info.parameters == sum(p.numel() for p in network.parameters())
    assert other.info.model == ""


def test_mambair_stands_in_the_same_table(tmp_path: Path) -> None:
    config = {"upscale": 2, "embed_dim": 12, "depths": (1,), "d_state": 2, "channel_attention": "light"}
    network = build_network(config)
    torch.save({"params": network.state_dict()}, tmp_path / "MambaIR_lightSR_x2.pth")
    method = build_method("MambaIR", MeasureProtocol("sr", 2), CPU.with_(weights=tmp_path / "MambaIR_lightSR_x2.pth"))
    assert method.restore(_photo(24)).shape == (48, 48, 3)


def test_every_baseline_says_what_it_is() -> None:
    assert set(BASELINES) == {"bicubic", "nearest", "none", "nl-means"}
    assert all(baseline.description for baseline in BASELINES.values())


def test_every_setting_of_a_run_is_part_of_what_it_resumes_under(golden: Path, tmp_path: Path) -> None:
    file = CPU.with_(weights=golden / "light_d1_x4.pth", stripe=8)
    runs = [file, file.with_(stripe=4), file.with_(ensemble=True), file.with_(partition=False)]
    benchmark = Benchmark(MeasureProtocol("sr", 4), [], state_root=tmp_path, settings={})
    infos = [build_method("x", MeasureProtocol("sr", 4), run).info for run in runs]
    assert len({benchmark.open_state(info).folder for info in infos}) == len(runs)
    assert len({info.weights for info in infos}) == 1
