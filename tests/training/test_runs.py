"""Whole training runs: what they export, several processes, images that will not do."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from mair_cli.errors import TrainingError, UsageError
from mair_cli.training.loop import train
from mair_cli.training.recipe import Settings, settings_from_mapping
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


SCRIPT = """
import sys, tomllib, torch
from pathlib import Path
from mair_cli.training.recipe import read_settings
from mair_cli.training.loop import train
train(read_settings(Path(sys.argv[1]), sys.argv[2:]), torch.device("cpu"))
"""


def launched(script: str, processes: int, *arguments: str, folder: Path) -> str:
    """Run a script with its arguments in one or several processes; returns what it printed."""
    file = folder / "run.py"
    file.write_text(script)
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, *launcher, str(file), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=240)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout


def _recipe(images: Path, folder: Path, drop_path_rate: float) -> Path:
    recipe = folder / "recipe.toml"
    recipe.write_text(
        f"name = 'test'\ntask = 'sr'\n[network]\nupscale = 2\nembed_dim = 8\ndepths = [2]\nd_state = 1\nscan_len = 4\n"
        f"drop_path_rate = {drop_path_rate}\n[data]\nimages = ['{images}']\npatch = 8\nbatch = 4\n"
        f"[training]\nsteps = 4\nlearning_rate = 1e-3\nthreads = 1\n[validation]\nholdout = 1\nevery = 4\n"
    )
    return recipe


@pytest.mark.parametrize("drop_path_rate", [0.0, 0.5])
def test_two_processes_equal_one_with_the_same_batch(images: Path, tmp_path: Path, drop_path_rate: float) -> None:
    recipe = str(_recipe(images, tmp_path, drop_path_rate))
    for processes in (1, 2):
        launched(SCRIPT, processes, recipe, f"output={tmp_path / str(processes)}", folder=tmp_path)
    one, two = _weights(tmp_path / "1"), _weights(tmp_path / "2")
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-5, rtol=1e-4)


def test_two_launchers_that_meet_as_on_two_machines_equal_one_process(images: Path, tmp_path: Path) -> None:
    """As docs/cluster.md has it, with the addresses of this machine."""
    recipe = str(_recipe(images, tmp_path, 0.0))
    launched(SCRIPT, 1, recipe, f"output={tmp_path / '1'}", folder=tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    meeting = [
        "--nnodes",
        "2",
        "--nproc-per-node",
        "1",
        "--rdzv-backend",
        "c10d",
        "--rdzv-endpoint",
        f"127.0.0.1:{port}",
    ]
    words = [*meeting, str(tmp_path / "run.py"), recipe, f"output={tmp_path / '2'}"]
    command = [sys.executable, "-m", "torch.distributed.run", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    machines = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    for machine in machines:
        _, err = machine.communicate(timeout=240)
        assert machine.returncode == 0, err[-2000:]
    one, two = _weights(tmp_path / "1"), _weights(tmp_path / "2")
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-5, rtol=1e-4)


LONELY_SIGNAL = """
import os, signal, sys, torch
from pathlib import Path
from mair_cli.training.loop import train
from mair_cli.training.recipe import read_settings
from mair_cli.training.reports import Observer

class Killer(Observer):
    def stepped(self, step):
        if step == 5:
            os.kill(os.getpid(), signal.SIGINT)

outcome = train(read_settings(Path(sys.argv[1]), sys.argv[2:]), torch.device("cpu"), observer=Killer())
print(outcome.step, outcome.finished, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_signal_to_one_of_several_processes_stops_all_soon_whatever_is_logged(images: Path, tmp_path: Path) -> None:
    changes = ["training.steps=1000000", "training.log_every=1000000", "validation.every=1000000"]
    recipe = str(_recipe(images, tmp_path, 0.0))
    begun = time.monotonic()
    told = launched(LONELY_SIGNAL, 2, recipe, f"output={tmp_path / 'run'}", *changes, folder=tmp_path)
    assert time.monotonic() - begun < 120, "two processes start within a minute, and stop within seconds"
    (first, second) = sorted(told.splitlines())
    assert first == second
    assert (tmp_path / "run" / "state.pt").exists()
