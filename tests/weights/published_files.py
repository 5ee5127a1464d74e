"""Stand-ins for the authors' files: random numbers under the names and shapes of the reference list."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from torch import Tensor

from mair_cli.networks import build_network
from mair_cli.weights.catalog import ModelEntry, find

REFERENCE = Path(__file__).parents[1] / "reference"
SMALL: dict[str, object] = {"upscale": 4, "embed_dim": 8, "depths": [1, 1], "d_state": 1, "scan_len": 8}


def small_entry(name: str = "mair-t-x4") -> ModelEntry:
    """An entry of the catalog with a far smaller network, so that fetching it takes no time."""
    return dataclasses.replace(find(name), config=SMALL)


def small_checkpoint(path: Path, seed: int = 0) -> bytes:
    """Write what `small_entry` should be made from; returns its bytes."""
    torch.manual_seed(seed)
    torch.save({"params": build_network(SMALL).state_dict()}, path)
    return path.read_bytes()


def listed_shapes(entry: ModelEntry) -> dict[str, list[int]]:
    """Names and shapes of the entry's published checkpoint."""
    listed = json.loads((REFERENCE / "state_dicts.json").read_text("utf-8"))
    shapes = listed[entry.file.rpartition(".")[0]]
    found: dict[str, list[int]] = listed[shapes.removeprefix("as ")] if isinstance(shapes, str) else shapes
    return found


def random_state(entry: ModelEntry) -> dict[str, Tensor]:
    """A state dict as the authors' file holds it, of small random numbers."""
    numbers = torch.Generator().manual_seed(0)
    return {
        name: torch.empty(shape).uniform_(-0.05, 0.05, generator=numbers)
        for name, shape in listed_shapes(entry).items()
    }
