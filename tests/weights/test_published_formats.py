"""Every published checkpoint would load: its names, its shapes, and every form in which such files are saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from published_files import listed_shapes, random_state, small_checkpoint, small_entry
from torch import Tensor

from mair_cli.weights.catalog import MODELS, ModelEntry
from mair_cli.weights.checkpoint import load_checkpoint, load_network

# Others have the very same network: one of each kind is enough for every day.
LARGE_TWINS = {"mair-sr-x2", "mair-sr-x3", "mair-cdn-s15", "mair-cdn-s50", "mair-motiondeblur"}
PUBLISHED = [
    pytest.param(entry, id=entry.name, marks=pytest.mark.slow if entry.name in LARGE_TWINS else ())
    for entry in MODELS.values()
    if entry.origin == "published"
]


@pytest.mark.parametrize("entry", PUBLISHED)
def test_a_checkpoint_of_every_entry_loads_and_restores(entry: ModelEntry, tmp_path: Path) -> None:
    state = random_state(entry)
    path = tmp_path / entry.files[-1]
    torch.save({"params": state}, path)
    network = load_network(path, entry.config)
    loaded = network.state_dict()
    assert {name: list(value.shape) for name, value in loaded.items()} == listed_shapes(entry)
    assert all(torch.equal(loaded[name], value) for name, value in state.items())
    with torch.inference_mode():
        restored = network(torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(1)))
    assert restored.shape == (1, 3, 5 * entry.scale, 7 * entry.scale)
    assert restored.isfinite().all()
    # Shapes and names alone tell the same network, stripe width included.
    assert load_checkpoint(path).config == network.config


State = dict[str, Tensor]
FORMS: dict[str, Callable[[State], object]] = {
    "params": lambda state: {"params": state},
    "params_ema": lambda state: {"params_ema": state},
    "both": lambda state: {"params": {}, "params_ema": state},
    "bare": lambda state: state,
    "module.": lambda state: {"params": {f"module.{name}": value for name, value in state.items()}},
    "bare module.": lambda state: {f"module.{name}": value for name, value in state.items()},
    "lightning": lambda state: {"state_dict": state, "epoch": 3, "optimizer_states": [{"lr": 0.1, "steps": [1, None]}]},
    "float16": lambda state: {"params": {name: value.half() for name, value in state.items()}},
    "one storage": lambda state: {"params": in_one_storage(state)},
    "transposed": lambda state: {"params": {name: turned(value) for name, value in state.items()}},
    "parameters": lambda state: {"params": {name: torch.nn.Parameter(value) for name, value in state.items()}},
}


def in_one_storage(state: State) -> State:
    everything = torch.cat([value.flatten() for value in state.values()])
    parts = everything.split([value.numel() for value in state.values()])
    return {name: part.view(value.shape) for (name, value), part in zip(state.items(), parts, strict=True)}


def turned(value: Tensor) -> Tensor:
    return value.transpose(0, 1).contiguous().transpose(0, 1) if value.dim() > 1 else value


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("suffix", [".pth", ".ckpt"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_published_file_gives_the_same_weights(
    form: str, suffix: str, legacy: bool, tmp_path: Path
) -> None:
    small_checkpoint(tmp_path / "plain.pth")
    state = load_checkpoint(tmp_path / "plain.pth", small_entry().config).state_dict
    path = tmp_path / f"other{suffix}"
    torch.save(FORMS[form](state), path, _use_new_zipfile_serialization=not legacy)
    loaded = load_checkpoint(path, small_entry().config).state_dict
    assert list(loaded) == [name.removeprefix("module.") for name in state]
    for name, value in state.items():
        torch.testing.assert_close(loaded[name], value, rtol=1e-3 if form == "float16" else 0, atol=1e-4)
        assert loaded[name].dtype == torch.float32
        assert loaded[name].is_contiguous()
