"""Settings and images of training runs that take a second."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from mair_cli.training.files import STATE_FILE
from mair_cli.training.loop import train
from mair_cli.training.recipe import Settings, settings_from_mapping
from mair_cli.training.reports import RunEnd
from mair_cli.training.state import TrainingState, load_state

CPU = torch.device("cpu")


def texture(seed: int, height: int = 48, width: int = 56) -> npt.NDArray[np.uint8]:
    """A picture full of soft spots and hard edges, (H, W, 3); another seed gives quite another one."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    image = np.zeros((height, width, 3))
    for _ in range(max(24, height * width // 500)):
        cy, cx, radius = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(2, 0.18 * min(height, width) + 3)
        distance = np.hypot((y - cy) * rng.uniform(0.6, 1.6), x - cx)
        shape = distance < radius if rng.random() < 0.6 else np.exp(-((distance / radius) ** 2))
        image += rng.uniform(-0.5, 0.5, 3) * np.asarray(shape, float)[:, :, None]
    image = (image - image.min()) / (image.max() - image.min())
    pixels: npt.NDArray[np.uint8] = (image * 255).round().astype(np.uint8)
    return pixels


def image_folder(folder: Path, count: int = 4) -> Path:
    """A folder of textures as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        Image.fromarray(texture(seed)).save(folder / f"{seed}.png")
    return folder


def mapping(folder: Path, **sections: Mapping[str, object]) -> dict[str, Any]:
    """A super-resolution ×2 recipe over `folder/images`, writing to `folder/run`; `sections` add to its sections."""
    recipe: dict[str, Any] = {
        "name": "tiny",
        "task": "sr",
        "output": str(folder / "run"),
        "network": {
            "upscale": 2,
            "embed_dim": 8,
            "depths": [1, 1],
            "ssm_ratio": 1.0,
            "mlp_ratio": 1.0,
            "scan_len": 4,
            "drop_path_rate": 0.1,
        },
        "data": {"images": [str(folder / "images")], "patch": 8, "batch": 4},
        "training": {"steps": 10, "learning_rate": 2e-3, "save_every": 4, "log_every": 3, "warmup": 2},
        "validation": {"holdout": 1, "every": 5},
    }
    if not (folder / "images").exists():
        image_folder(folder / "images")
    for name, values in sections.items():
        recipe[name] = recipe.get(name, {}) | dict(values)
    return recipe


def settings(folder: Path, **sections: Mapping[str, object]) -> Settings:
    """`mapping` as settings."""
    return settings_from_mapping(mapping(folder, **sections))


def run(recipe: Settings, **options: Any) -> RunEnd:
    """Train on the CPU."""
    return train(recipe, CPU, **options)


def saved(recipe: Settings) -> TrainingState:
    """The state that a run left."""
    return load_state(recipe.folder / STATE_FILE)


def same_tensors(a: object, b: object) -> bool:
    """Whether two nested states hold the same numbers, to the bit."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same_tensors(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_tensors, a, b))
    return a == b
