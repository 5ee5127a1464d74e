"""How runs end and go on: signals, the clock, full disks, foreign states; and what else settings switch on."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import CPU, mapping, run, same_tensors, saved, settings

from mair_cli.errors import BackendError, CheckpointError, TrainingError, UsageError
from mair_cli.networks import build_network
from mair_cli.training.average import WeightAverage
from mair_cli.training.curve import draw_curve
from mair_cli.training.files import STATE_FILE, STEPS_FILE, VALIDATION_FILE
from mair_cli.training.logbook import read_rows
from mair_cli.training.loop import rehearse
from mair_cli.training.recipe import Settings, settings_from_mapping
from mair_cli.training.reports import Observer
from mair_cli.training.starting import draw_start_values, load_partially, start_from
from mair_cli.training.state import load_state, save_state
from mair_cli.training.stopping import StopRequest
from mair_cli.weights.checkpoint import save_checkpoint

needs_posix = pytest.mark.skipif(os.name == "nt", reason="signals and limits of POSIX")

HOLDER = """
import sys, pathlib
from mair_cli.training.resuming import sole_user
with sole_user(pathlib.Path(sys.argv[1])):
    print("training", flush=True)
    sys.stdin.read()
"""


class Killer(Observer):
    """Sends this process a signal after some step."""

    def __init__(self, step: int, number: signal.Signals) -> None:
        self.step, self.number = step, number

    def stepped(self, step: int) -> None:
        if step == self.step:
            os.kill(os.getpid(), self.number)


def log(recipe: Settings, *columns: str, file: str = STEPS_FILE) -> list[list[str]]:
    """Columns of a log; those with times differ from run to run."""
    return [[row[column] for column in columns] for row in read_rows(recipe.folder / file)]


@needs_posix
@pytest.mark.parametrize(("number", "optimizer"), [(signal.SIGINT, "adam"), (signal.SIGTERM, "muon")])
def test_a_signal_saves_after_the_step_and_the_resumed_run_equals_an_uninterrupted_one(
    tmp_path: Path, number: signal.Signals, optimizer: str
) -> None:
    stages = {"stages": [[0.0, 8, 4], [0.4, 12, 2]], "optimizer": optimizer}
    whole, broken = (settings(tmp_path / name, training=stages) for name in ("whole", "broken"))
    run(whole)
    before = signal.getsignal(number)
    outcome = run(broken, observer=Killer(5, number))
    assert (outcome.step, outcome.finished, outcome.signal) == (5, False, number)
    assert signal.getsignal(number) == before
    assert run(broken, resume=True).finished
    assert log(broken, "step", "loss", "gradient_norm") == log(whole, "step", "loss", "gradient_norm")
    assert log(broken, "step", "psnr", "ssim", file=VALIDATION_FILE) == log(
        whole, "step", "psnr", "ssim", file=VALIDATION_FILE
    )
    for part in ("network", "average", "optimizer"):
        assert same_tensors(getattr(saved(broken), part), getattr(saved(whole), part))
    assert saved(broken).best == saved(whole).best


def test_rows_written_after_the_last_saved_state_are_not_doubled(tmp_path: Path) -> None:
    recipe = settings(tmp_path, training={"log_every": 1})
    run(recipe, stop_after_seconds=0)
    state = (recipe.folder / STATE_FILE).read_bytes()
    run(recipe, resume=True)
    (recipe.folder / STATE_FILE).write_bytes(state)  # as if the power had failed before the next save
    run(recipe, resume=True)
    assert log(recipe, "step") == [[str(step)] for step in range(1, 11)]
    assert log(recipe, "step", file=VALIDATION_FILE) == [["5"], ["10"]]


def test_the_clock_stops_a_run_and_resuming_a_finished_one_is_harmless(tmp_path: Path) -> None:
    recipe = settings(tmp_path)
    outcome = run(recipe, stop_after_seconds=0)
    assert (outcome.step, outcome.finished, outcome.signal) == (1, False, None)
    assert run(recipe, resume=True).finished
    before = saved(recipe)
    assert run(recipe, resume=True).finished
    assert same_tensors(before.average, saved(recipe).average)


@needs_posix
def test_a_folder_in_which_another_process_trains_is_refused_and_left_alone(tmp_path: Path) -> None:
    recipe = settings(tmp_path)
    run(recipe, stop_after_seconds=0)
    before = {path: path.read_bytes() for path in recipe.folder.iterdir()}
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(recipe.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"training\n"
        with pytest.raises(TrainingError, match="another process is training in"):
            run(recipe, resume=True)
        assert {path: path.read_bytes() for path in recipe.folder.iterdir()} == before
        holder.kill()
    assert run(recipe, resume=True).finished, "the lock must end with the process that held it"


@contextmanager
def small_disk(limit: int) -> Iterator[None]:
    """No file may grow beyond `limit` bytes: the system then refuses writing as it does on a full disk."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@needs_posix
def test_a_full_disk_ends_the_run_and_the_saved_state_still_resumes(tmp_path: Path) -> None:
    recipe = settings(tmp_path, validation={"holdout": 0})
    run(recipe, stop_after_seconds=0)
    kept = (recipe.folder / STATE_FILE).read_bytes()
    with small_disk(len(kept) // 2), pytest.raises(TrainingError, match=r"state\.pt.*`resume`.*intact"):
        run(recipe, resume=True)
    assert (recipe.folder / STATE_FILE).read_bytes() == kept
    assert not list(recipe.folder.glob(".*tmp"))
    assert run(recipe, resume=True).finished


def test_a_diverging_run_leaves_the_last_good_state(tmp_path: Path) -> None:
    recipe = settings(tmp_path)
    run(recipe, stop_after_seconds=0)
    kept = (recipe.folder / STATE_FILE).read_bytes()
    wild = settings(tmp_path, training={"learning_rate": 1e30})
    with pytest.raises(TrainingError, match=r"not a number around step .*state\.pt, is intact.*learning_rate"):
        run(wild, resume=True)
    assert (recipe.folder / STATE_FILE).read_bytes() == kept


def test_states_of_another_network_or_no_states_are_refused(tmp_path: Path) -> None:
    recipe = settings(tmp_path)
    run(recipe, stop_after_seconds=0)
    with pytest.raises(TrainingError, match=r"network\.embed_dim was 8 and is now 12"):
        run(settings(tmp_path, network={"embed_dim": 12}), resume=True)
    path = recipe.folder / STATE_FILE
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"no state at all"):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"state\.pt"):
            run(recipe, resume=True)


def test_another_optimiser_is_refused_when_resuming(tmp_path: Path) -> None:
    run(settings(tmp_path), stop_after_seconds=0)
    with pytest.raises(TrainingError, match=r"training\.optimizer was 'adam' and is now 'muon'; choose another"):
        run(settings(tmp_path, training={"optimizer": "muon"}), resume=True)


def test_settings_that_an_older_state_did_not_know_are_no_change(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = settings(tmp_path)
    run(recipe, stop_after_seconds=0)
    state = saved(recipe)
    del state.settings["data"]["draw"], state.settings["training"]["hold"], state.settings["network"]["shift"]
    save_state(recipe.folder / STATE_FILE, state)
    assert run(recipe, resume=True).finished
    assert "resuming with other settings" not in caplog.text


def test_weights_to_start_from_must_exist_at_the_start_and_may_be_gone_later(tmp_path: Path) -> None:
    weights = tmp_path / "start.safetensors"
    recipe = settings(tmp_path, training={"start_from": str(weights)})
    for check in (run, lambda recipe: rehearse(recipe, CPU)):
        with pytest.raises(UsageError, match=r"training\.start_from: there is no file .*start\.safetensors"):
            check(recipe)
    network = build_network(recipe.network)
    save_checkpoint(weights, network.state_dict(), network.config, {})
    run(recipe, stop_after_seconds=0)
    weights.unlink()
    assert run(recipe, resume=True).finished


def test_a_rehearsal_finds_what_a_run_would_and_writes_nothing(tmp_path: Path) -> None:
    recipe = settings(tmp_path, data={"zoom": [1.0, 0.5]})
    before = sorted(tmp_path.rglob("*"))
    found = rehearse(recipe, CPU)
    assert (found.step, found.training, found.validation) == (0, 3, 1)
    assert found.parameters == sum(p.numel() for p in build_network(recipe.network).parameters())
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(TrainingError, match="smaller than a patch"):
        rehearse(settings(tmp_path, data={"patch": 40}), CPU)
    with pytest.raises(BackendError):
        rehearse(recipe, CPU, backend="mamba-ssm")
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"bad\.safetensors"):
        rehearse(settings(tmp_path, training={"start_from": str(tmp_path / "bad.safetensors")}), CPU)
    run(recipe, stop_after_seconds=0)
    with pytest.raises(UsageError, match="`resume`"):
        rehearse(recipe, CPU)
    assert rehearse(recipe, CPU, resume=True).step == 1
    with pytest.raises(TrainingError, match="embed_dim"):
        rehearse(settings(tmp_path, network={"embed_dim": 12}), CPU, resume=True)


@needs_posix
def test_the_same_signal_passed_on_is_one_request_and_a_later_one_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = StopRequest()
    with stop.listening():
        for _ in range(2):  # the terminal's, and the one that torchrun passes on
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.due
        later = time.monotonic() + 1.5
        monkeypatch.setattr(time, "monotonic", lambda: later)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_changed_settings_are_told_when_resuming(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(settings(tmp_path), stop_after_seconds=0)
    run(settings(tmp_path, training={"learning_rate": 1e-3, "log_every": 1}), resume=True)
    assert "training.learning_rate was 0.002 and is now 0.001" in caplog.text
    assert "log_every" not in caplog.text


def test_a_state_is_never_code(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"version": 1, "step": Settings}, path)
    with pytest.raises(CheckpointError, match=r"evil\.pt"):
        load_state(path)


def test_states_survive_being_written_and_read(tmp_path: Path) -> None:
    recipe = settings(tmp_path)
    run(recipe, stop_after_seconds=0)
    state = saved(recipe)
    save_state(tmp_path / "copy.pt", state)
    assert same_tensors(vars(load_state(tmp_path / "copy.pt")), vars(state))


def test_the_average_follows_the_weights_with_its_decay() -> None:
    network = torch.nn.Linear(2, 1)
    average = WeightAverage(network, 0.9)
    start = network.weight.detach().clone()
    with torch.no_grad():
        network.weight += 1
    average.update(network, 10_000)
    torch.testing.assert_close(average.network.weight.data, start + 0.1)
    WeightAverage(network, 0.0).update(network, 0)
    young = WeightAverage(network, 0.999)
    with torch.no_grad():
        network.weight += 1
    young.update(network, 0)
    torch.testing.assert_close(young.network.weight.data, start + 1.9)


FAMILY: dict[str, dict[str, object]] = {
    "classic": {"upscale": 2, "upsampler": "pixelshuffle", "embed_dim": 16, "depths": [2], "resi_connection": "3conv"},
    "light": {"upscale": 3, "upsampler": "pixelshuffledirect", "embed_dim": 16, "depths": [1, 1], "d_state": 4},
    "mambair": {"upscale": 2, "embed_dim": 16, "depths": [1], "channel_attention": "classic"},
    "u-shaped": {"dim": 8, "num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1},
}


@pytest.mark.parametrize("kind", FAMILY)
def test_start_values_follow_from_the_seed_and_have_the_networks_own_distribution(kind: str) -> None:
    torch.manual_seed(1)
    one, other = (build_network(FAMILY[kind]) for _ in range(2))
    built = {name: value.clone() for name, value in one.state_dict().items()}
    for network in (one, other):
        draw_start_values(network, 5)
    assert same_tensors(dict(one.state_dict()), dict(other.state_dict())), "a layer was left out"
    draw_start_values(other, 6)
    for name, value in one.state_dict().items():
        random = not torch.equal(built[name], other.state_dict()[name])
        assert random == (not torch.equal(value, other.state_dict()[name]))
        if value.numel() > 200:
            assert float(value.std()) == pytest.approx(float(built[name].std()), rel=0.25, abs=1e-6)
            assert float(value.mean() - built[name].mean()) == pytest.approx(0, abs=0.35 * float(value.std()) + 1e-6)


@pytest.mark.parametrize(
    "change", [{"aggregation": "sum"}, {"scan_pattern": "raster"}, {"depths": [2, 1]}, {"upscale": 3}]
)
def test_networks_that_differ_in_a_part_start_alike_in_the_others(change: dict[str, object]) -> None:
    base: dict[str, object] = {"upscale": 2, "embed_dim": 16, "depths": [2, 2], "scan_len": 4}
    one, other = build_network(base), build_network(base | change)
    for network in (one, other):
        draw_start_values(network, 3)
    here, there = one.state_dict(), other.state_dict()
    shared = [name for name in here if name in there and here[name].shape == there[name].shape]
    assert len(shared) >= len(there) - 6
    for name in shared:
        assert torch.equal(here[name], there[name]), name


def test_partial_loading_says_what_it_skipped_and_why() -> None:
    small = {"upsampler": "pixelshuffledirect", "embed_dim": 8, "depths": [1], "scan_len": 4}
    x2, x3 = (build_network({**small, "upscale": scale}) for scale in (2, 3))
    outcome = load_partially(x3, x2.state_dict() | {"extra": torch.zeros(1)})
    assert sorted(line.partition(":")[0] for line in outcome.skipped) == [
        "extra",
        "upsample.0.bias",
        "upsample.0.weight",
    ]
    assert "(12, 8, 3, 3) there, (27, 8, 3, 3) here" in "".join(outcome.skipped)
    for name in outcome.loaded:
        assert torch.equal(x3.state_dict()[name], x2.state_dict()[name])
    with pytest.raises(TrainingError, match="none of the weights"):
        load_partially(x3, {"other": torch.zeros(1)})


def test_a_denoiser_for_one_level_needs_no_map_and_measures_each_level(tmp_path: Path) -> None:
    network = {"upscale": 1, "upsampler": ""}
    recipe = mapping(tmp_path, network=network, data={"noise": 25}, validation={"noise": [25, 50]})
    settings_ = settings_from_mapping(recipe | {"task": "denoise"})
    assert run(settings_).best is not None
    assert [row[0] for row in log(settings_, "measure", file=VALIDATION_FILE)] == ["RGB s25", "RGB s50"] * 2


@pytest.mark.parametrize("backend", ["reference", "numba"])
def test_training_lowers_the_loss_with_either_back_end(tmp_path: Path, backend: str) -> None:
    recipe = settings(tmp_path, training={"steps": 30, "log_every": 5, "learning_rate": 5e-3}, data={"patch": 6})
    run(recipe, backend=backend)
    losses = [float(loss) for (loss,) in log(recipe, "loss")]
    assert losses[-1] < 0.6 * losses[0]


def test_half_precision_trains_close_to_single(tmp_path: Path) -> None:
    exact, rough = (settings(tmp_path / name, training={"precision": name}) for name in ("fp32", "bf16"))
    run(exact)
    run(rough)
    single, half = (np.array([float(loss) for (loss,) in log(recipe, "loss")]) for recipe in (exact, rough))
    np.testing.assert_allclose(half, single, rtol=0.05)
    assert not np.array_equal(half, single)


def test_the_curve_is_drawn_from_the_logs(tmp_path: Path) -> None:
    recipe = settings(tmp_path)
    assert draw_curve(tmp_path) is None
    run(recipe)
    drawn = draw_curve(recipe.folder)
    if importlib.util.find_spec("matplotlib") is None:
        assert drawn is None
    else:
        assert drawn is not None
        assert drawn.stat().st_size > 1000


def test_new_levels_begin_without_influence_and_known_ones_keep_their_weights(tmp_path: Path) -> None:
    plain, told = ({"upscale": 1, "upsampler": "", "embed_dim": 8, "depths": [1, 1], **levels} for levels in (
        {"noise_level_map": True}, {"noise_level_map": True, "jpeg_level_map": True}))  # fmt: skip
    old = build_network(plain)
    save_checkpoint(tmp_path / "old.safetensors", old.state_dict(), old.config, {})
    new = build_network(told)
    assert not start_from(new, str(tmp_path / "old.safetensors")).skipped
    image = torch.rand(1, 3, 9, 11)
    torch.testing.assert_close(new(image, 0.1, 0.4), old(image, 0.1), rtol=0, atol=1e-6)


@needs_posix
def test_a_run_with_degradations_and_levels_resumes_to_the_bit(tmp_path: Path) -> None:
    network = {"noise_level_map": True, "jpeg_level_map": True}
    degradation = {"noise": [0, 25], "noise_share": 0.5, "jpeg": [20, 95], "clean_share": 0.2, "twice_share": 0.3}
    validation = {"degradations": ["clean", "jpeg 50", "noise 10 jpeg 75"]}
    recipes = [
        settings(tmp_path / name, network=network, degradation=degradation, validation=validation)
        for name in ("whole", "parts")
    ]
    run(recipes[0])
    assert run(recipes[1], observer=Killer(4, signal.SIGTERM)).step == 4
    assert run(recipes[1], resume=True).finished
    assert same_tensors(saved(recipes[1]).network, saved(recipes[0]).network)
    measured = log(recipes[0], "measure", file=VALIDATION_FILE)
    assert [row[0] for row in measured][:3] == ["Y x2", "Y x2 q50", "Y x2 s10 q75"]
