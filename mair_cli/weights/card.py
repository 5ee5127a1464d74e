"""A model card for a checkpoint: what a Hugging Face repository shows about it, as far as the file itself tells."""

from __future__ import annotations

import json
from pathlib import Path

from mair_cli.errors import CheckpointError
from mair_cli.networks import build_network
from mair_cli.store.atomic import atomic_write
from mair_cli.store.files import disk_errors_as
from mair_cli.tasks import TASKS
from mair_cli.weights.checkpoint import Checkpoint

__all__ = ["model_card", "write_card"]

_TO_FILL_IN = "TODO"


def model_card(checkpoint: Checkpoint, file_name: str) -> str:
    """Markdown with the YAML block that Hugging Face reads. What only its maker knows is marked TODO.

    Args:
        checkpoint: settings, parameters, and what the file says of its training.
        file_name: of the checkpoint in the repository.
    """
    network, told = build_network(checkpoint.config), checkpoint.metadata
    task = TASKS.get(told.get("task", "sr" if network.scale > 1 else ""))
    title = _TO_FILL_IN if task is None else task.title(scale=network.scale)
    multiply_adds, counted_for = network.multiply_adds()
    rows = {
        "Restores": title,
        "Settings": f"`{json.dumps(checkpoint.config.to_mapping())}`",
        "Parameters": f"{sum(parameter.numel() for parameter in network.parameters()):,}",
        "Multiply-adds": f"{multiply_adds / 1e9:.1f} G ({counted_for})",
        "Is told": ", ".join(network.levels) or "nothing but the picture",
        "Steps": told.get("step"),
        "Validation, PSNR and SSIM": _cell(told.get("validation")),
        "Recipe": _cell(told.get("recipe")),
        "Made with": f"mair-cli {told['mair_cli']}" if "mair_cli" in told else None,
        "SHA-256": f"`{checkpoint.sha256}`",
        "Training data and its licence": _TO_FILL_IN,
    }
    head = {"license": told.get("licence", _TO_FILL_IN), "library_name": "mair-cli", "pipeline_tag": "image-to-image"}
    tags = ["image-restoration", "mamba", *([] if task is None else [task.name])]
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in head.items()), f"tags: {json.dumps(tags)}", "---"]
    lines += ["", f"# {told.get('name', Path(file_name).stem)}", "", "| | |", "|---|---|"]
    lines += [f"| {key} | {value} |" for key, value in rows.items() if value is not None]
    command = _TO_FILL_IN if task is None else task.typed
    lines += ["", "After `pip install mair-cli`:", "", f"`mair {command} photo.jpg --weights {file_name}`", ""]
    return "\n".join(lines)


def _cell(text: str | None) -> str | None:
    """JSON as one cell of a table."""
    return None if text is None else f"`{text}`".replace("|", "\\|").replace("\n", " ")


def write_card(path: Path, text: str) -> None:
    """Write a card, complete or not at all. Raises CheckpointError where that is impossible."""
    with disk_errors_as(CheckpointError, f"Cannot write {path}"), atomic_write(path) as file:
        file.write(text.encode())
