"""Training runs: exact resuming, several processes, errors that lose nothing."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from mair_cli.errors import MairError, TrainingError, UsageError
from mair_cli.training import trainer as trainer_module
from mair_cli.training.config import Settings, settings_from_mapping
from mair_cli.training.losses import make_loss
from mair_cli.training.trainer import train
from mair_cli.weights.checkpoint import load_checkpoint

NETWORK = {"embed_dim": 8, "depths": [1], "d_state": 1, "scan_len": 4, "drop_path_rate": 0.2}
CPU = torch.device("cpu")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three small pictures with structure at several scales."""
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(3):
        random = np.random.default_rng(seed)
        small = Image.fromarray(random.integers(0, 256, (9, 10, 3), dtype=np.uint8))
        small.resize((60, 54), Image.Resampling.BICUBIC).save(folder / f"{seed}.png")
    return folder


def _settings(images: Path, output: Path, **training: object) -> Settings:
    mapping: dict[str, object] = {
        "name": "test",
        "task": training.pop("task", "sr"),
        "output": str(output),
        "network": {**NETWORK, **({"upscale": 2} | dict(training.pop("network", {})))},  # type: ignore[call-overload]
        "data": {"images": [str(images)], "patch": 8, "batch": training.pop("batch", 2)},
        "training": {"steps": 6, "learning_rate": 1e-3, "save_every": 2, "log_every": 1, "ema": 0.9, **training},
        "validation": {"holdout": 1, "every": 3},
    }
    return settings_from_mapping(mapping)


def _losses(folder: Path) -> list[float]:
    with (folder / "steps.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / "test-last.safetensors").state_dict


class _PowerCutError(Exception):
    pass


def _crash_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the loss of one step fail, as a power cut would end it: nothing is saved on the way out."""
    real, calls = make_loss, [0]

    def make(*arguments: Any) -> Any:
        loss = real(*arguments)

        def counting(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            calls[0] += 1
            if calls[0] > steps:
                raise _PowerCutError
            return loss(output, target)

        return counting

    monkeypatch.setattr(trainer_module, "make_loss", make)


def test_resumed_run_equals_an_uninterrupted_one_to_the_bit(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(_settings(images, tmp_path / "whole"), CPU)
    with monkeypatch.context() as patch:
        _crash_after(3, patch)
        with pytest.raises(_PowerCutError):
            train(_settings(images, tmp_path / "broken"), CPU)
    outcome = train(_settings(images, tmp_path / "broken"), CPU, resume=True)
    assert outcome.finished
    assert _losses(tmp_path / "broken") == _losses(tmp_path / "whole")
    whole, resumed = _weights(tmp_path / "whole"), _weights(tmp_path / "broken")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_weights_of_a_run_say_how_they_came_about_and_load_without_settings(images: Path, tmp_path: Path) -> None:
    train(_settings(images, tmp_path / "run"), CPU)
    with safe_open(tmp_path / "run" / "test-last.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert metadata["step"] == "6"
    assert json.loads(metadata["recipe"])["training"]["learning_rate"] == 1e-3
    assert str(tmp_path) not in json.dumps(metadata), "paths of the machine stay out of files that are shared"


def test_denoiser_learns_with_a_noise_level_map(images: Path, tmp_path: Path) -> None:
    network = {"upscale": 1, "upsampler": None, "noise_level_map": True}
    settings = _settings(
        images, tmp_path / "run", task="denoise", network=network, loss="charbonnier", steps=40, learning_rate=5e-3
    )
    train(settings, CPU)
    losses = _losses(tmp_path / "run")
    assert np.mean(losses[-10:]) < np.mean(losses[:10])


def test_other_scales_weights_are_taken_over_but_for_the_head(
    images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(_settings(images, tmp_path / "x2", steps=2), CPU)
    start = str(tmp_path / "x2" / "test-last.safetensors")
    settings = _settings(
        images, tmp_path / "x3", network={"upscale": 3}, steps=1, learning_rate=1e-9, ema=0, start_from=start
    )
    with caplog.at_level("INFO"):
        train(settings, CPU)
    assert "upsample.0" in caplog.text
    before, after = _weights(tmp_path / "x2"), _weights(tmp_path / "x3")
    torch.testing.assert_close(after["conv_first.weight"], before["conv_first.weight"], atol=1e-6, rtol=0)
    assert after["upsample.0.weight"].shape != before["upsample.0.weight"].shape


def test_loss_that_is_not_finite_ends_the_run_and_keeps_what_was_saved(images: Path, tmp_path: Path) -> None:
    settings = _settings(images, tmp_path / "run", learning_rate=1e30, clip=0, steps=30, optimizer="adam")
    with pytest.raises(TrainingError, match="not a number"):
        train(settings, CPU)


def test_full_disk_is_an_error_and_the_last_state_survives(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _settings(images, tmp_path / "run", steps=2)
    train(settings, CPU)
    state = tmp_path / "run" / "state.pt"
    kept = state.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MairError, match="No space left"):
        train(_settings(images, tmp_path / "run", steps=4), CPU, resume=True)
    assert state.read_bytes() == kept


def test_started_run_is_not_overwritten(images: Path, tmp_path: Path) -> None:
    train(_settings(images, tmp_path / "run", steps=1), CPU)
    with pytest.raises(UsageError, match="--resume"):
        train(_settings(images, tmp_path / "run", steps=1), CPU)


@pytest.mark.parametrize("problem", ["empty", "small", "missing"])
def test_unusable_images_are_refused_before_anything_is_written(images: Path, tmp_path: Path, problem: str) -> None:
    folder = tmp_path / "other"
    if problem != "missing":
        folder.mkdir()
    if problem == "small":
        for name in ("a", "b"):
            Image.new("RGB", (9, 9)).save(folder / f"{name}.png")
    with pytest.raises((UsageError, TrainingError), match=r"other|patch"):
        train(_settings(folder, tmp_path / "run"), CPU)
    assert not (tmp_path / "run" / "state.pt").exists()


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("training", "step", 5), ("data", "pach", 8), ("network", "width", 8), ("training", "steps", "many")],
)
def test_wrong_settings_are_refused_by_name(images: Path, section: str, key: str, value: object) -> None:
    mapping: dict[str, dict[str, object]] = {
        "network": {**NETWORK, "upscale": 2},
        "data": {"images": [str(images)]},
        "training": {"steps": 1},
    }
    mapping[section][key] = value
    with pytest.raises(UsageError, match=key):
        settings_from_mapping({"name": "x", "task": "sr", **mapping})


SCRIPT = """
import sys, tomllib, torch
from pathlib import Path
from mair_cli.training.config import read_settings
from mair_cli.training.losses import make_loss
from mair_cli.training.trainer import train
train(read_settings(Path(sys.argv[1]), sys.argv[2:]), torch.device("cpu"))
"""


def test_two_processes_equal_one_with_the_same_batch(images: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f"name = 'test'\ntask = 'sr'\n[network]\nupscale = 2\nembed_dim = 8\ndepths = [1]\nd_state = 1\nscan_len = 4\n"
        f"drop_path_rate = 0.0\n[data]\nimages = ['{images}']\npatch = 8\nbatch = 4\n"
        f"[training]\nsteps = 4\nlearning_rate = 1e-3\nthreads = 1\n[validation]\nholdout = 1\nevery = 4\n"
    )
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    alone = [sys.executable, str(script), str(recipe), f"output={tmp_path / 'one'}"]
    together = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for command in (alone, [*together, *alone[1:3], f"output={tmp_path / 'two'}"]):
        run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=240)
        assert run.returncode == 0, run.stderr[-2000:]
    one, two = _weights(tmp_path / "one"), _weights(tmp_path / "two")
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-5, rtol=1e-4)
