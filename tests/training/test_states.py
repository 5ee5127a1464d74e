"""A training state is taken as it was saved or refused in one line: damaged, crafted or of another run."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import run, same_tensors, saved, settings

from mair_cli.errors import MairError
from mair_cli.training.files import STATE_FILE, STEPS_FILE
from mair_cli.training.logbook import STEP_COLUMNS, Logbook, read_rows
from mair_cli.training.recipe import Settings
from mair_cli.training.state import load_state

Content = dict[str, Any]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, bytes]:
    """A run of one step with two optimisers, and its state."""
    recipe = settings(tmp_path_factory.mktemp("stopped"), training={"optimizer": "muon"}, validation={"holdout": 0})
    run(recipe, stop_after_seconds=0)
    return recipe, (recipe.folder / STATE_FILE).read_bytes()


@pytest.fixture
def run_folder(stopped: tuple[Settings, bytes]) -> Iterator[Settings]:
    recipe, state = stopped
    yield recipe
    (recipe.folder / STATE_FILE).write_bytes(state)


def content(recipe: Settings) -> Content:
    """The state as version 2 held it: without a checksum, so that nothing but its content tells."""
    loaded: Content = torch.load(recipe.folder / STATE_FILE, weights_only=True)
    return loaded | {"version": 2}


def refused(recipe: Settings) -> str:
    with pytest.raises(MairError) as caught:
        run(recipe, resume=True)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    return str(caught.value)


def test_a_state_of_version_2_goes_on_like_one_of_today(tmp_path: Path) -> None:
    today, before = (settings(tmp_path / name, training={"optimizer": "muon"}) for name in ("today", "before"))
    for recipe in (today, before):
        run(recipe, stop_after_seconds=0)
    torch.save(content(before), before.folder / STATE_FILE)
    for recipe in (today, before):
        assert run(recipe, resume=True).finished
    for part in ("network", "average", "optimizer"):
        assert same_tensors(getattr(saved(today), part), getattr(saved(before), part))


def test_every_changed_byte_and_every_cut_is_noticed(run_folder: Settings) -> None:
    path = run_folder.folder / STATE_FILE
    whole, numbers = path.read_bytes(), random.Random(3)
    for _ in range(60):
        data = bytearray(whole)
        data[numbers.randrange(len(data))] ^= 1 << numbers.randrange(8)
        path.write_bytes(data)
        with pytest.raises(MairError, match=r"state\.pt"):
            load_state(path)
    for length in (0, 1, 10, len(whole) // 2, len(whole) - 32, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(MairError, match=r"state\.pt"):
            load_state(path)


def moments(state: Content, name: str = "exp_avg") -> dict[str, Any]:
    """The optimiser's largest tensors of that name, and what stands beside them."""
    entries = [values for part in state["optimizer"] for values in part["state"].values() if name in values]
    largest: dict[str, Any] = max(entries, key=lambda values: values[name].numel())
    return largest


CRAFTED: dict[str, Callable[[Content], object]] = {
    "moments of another shape": lambda s: moments(s).update(exp_avg=torch.zeros(3)),
    "moments of too many numbers": lambda s: moments(s).update(exp_avg_sq=torch.zeros(99, 99)),
    "momentum of another shape": lambda s: moments(s, "momentum_buffer").update(momentum_buffer=torch.zeros(2)),
    "moments of another type": lambda s: moments(s).update(exp_avg=moments(s)["exp_avg"].half()),
    "moments that are no tensors": lambda s: moments(s).update(exp_avg=1.0),
    "moments that repeat one number": lambda s: moments(s).update(
        exp_avg=torch.zeros(1).expand(moments(s)["exp_avg"].shape)
    ),
    "moments that are not finite": lambda s: moments(s)["exp_avg"].fill_(float("nan")),
    "moments that are missing": lambda s: moments(s).pop("exp_avg"),
    "more moments": lambda s: moments(s).update(max_exp_avg_sq=torch.zeros(1)),
    "a step for each number": lambda s: moments(s).update(step=torch.zeros(5)),
    "a parameter too many": lambda s: s["optimizer"][0]["state"].update({10_000: {}}),
    "a parameter of no number": lambda s: s["optimizer"][0]["state"].update(x={}),
    "an optimiser without state": lambda s: s["optimizer"][0].pop("state"),
    "an optimiser too few": lambda s: s["optimizer"].pop(),
    "optimisers that are none": lambda s: s.update(optimizer=[1, 2]),
    "weights of another shape": lambda s: s["network"].update({"conv_first.bias": torch.zeros(3)}),
    "weights that are missing": lambda s: s["average"].pop("conv_first.bias"),
    "weights that are none": lambda s: s.update(network=[]),
    "a step before the first": lambda s: s.update(step=-1),
    "a step that is no number": lambda s: s.update(step="1"),
    "half a step": lambda s: s.update(step=1.5),
    "a time that is infinite": lambda s: s.update(seconds=float("inf")),
    "a loss that is none": lambda s: s.update(loss_since_report=None),
    "settings without end": lambda s: s["settings"].update(more=s["settings"]),
    "settings of tensors": lambda s: s["settings"].update(more=torch.zeros(1)),
    "another entry": lambda s: s.update(extra=1),
    "one entry less": lambda s: s.pop("best"),
    "another version": lambda s: s.update(version=1),
    "a version that is none": lambda s: s.update(version="2"),
    "today's version without checksum": lambda s: s.update(version=3),
}


@pytest.mark.parametrize("change", CRAFTED)
def test_a_crafted_state_is_refused_in_one_line(change: str, run_folder: Settings) -> None:
    state = content(run_folder)
    CRAFTED[change](state)
    torch.save(state, run_folder.folder / STATE_FILE)
    assert refused(run_folder)


def test_settings_of_the_optimiser_come_from_the_run_and_not_from_the_state(run_folder: Settings) -> None:
    state = content(run_folder)
    for part in state["optimizer"]:
        part["param_groups"] = [{"lr": "x", "betas": None, "amsgrad": True, "params": [7]}]
    torch.save(state, run_folder.folder / STATE_FILE)
    assert run(run_folder, resume=True).finished


def test_states_that_would_fill_the_memory_are_refused(run_folder: Settings) -> None:
    path = run_folder.folder / STATE_FILE
    path.write_bytes(b"\x80\x04\x8d" + (2**62).to_bytes(8, "little"))
    assert "state.pt" in refused(run_folder)
    path.unlink()
    path.symlink_to("/dev/zero")
    assert "is no file" in refused(run_folder)
    path.unlink()


def test_another_optimiser_is_named_when_resuming(tmp_path: Path) -> None:
    run(settings(tmp_path, training={"optimizer": "adam"}), stop_after_seconds=0)
    assert "training.optimizer" in refused(settings(tmp_path, training={"optimizer": "muon"}))


def test_kept_rows_of_a_log_survive_a_kill_while_it_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / STEPS_FILE
    book = Logbook(path, STEP_COLUMNS)
    for step in range(1, 6):
        book.write(step, 0.5, 0.25, 1e-3, 1.0, 0.1, 0.0)
    before = path.read_bytes()

    def killed(*_: object) -> None:
        assert path.read_bytes() == before
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            Logbook(path, STEP_COLUMNS, keep=3)
    assert path.read_bytes() == before
    Logbook(path, STEP_COLUMNS, keep=3)
    assert [row["step"] for row in read_rows(path)] == ["1", "2", "3"]


def test_training_leaves_other_programs_files_alone(tmp_path: Path) -> None:
    recipe = settings(tmp_path)
    recipe.folder.mkdir()
    foreign = recipe.folder / ".download.part"
    foreign.touch()
    os.utime(foreign, (0, 0))
    run(recipe, stop_after_seconds=0)
    assert foreign.exists()
    assert not list(recipe.folder.glob(".mair-*"))
