"""`mair info`: what a model or a checkpoint file is, and what it costs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mair_cli.cli import completion, console
from mair_cli.cli.options import Quiet, Stripe, Verbose
from mair_cli.errors import UsageError
from mair_cli.tasks import TASKS

if TYPE_CHECKING:
    from mair_cli.networks import Network

_MEGAPIXEL = 1_000_000
_OPTIONS = {"noise_level": "sigma", "jpeg_level": "jpeg"}


@dataclass(frozen=True)
class Subject:
    """What is asked about.

    Attributes:
        name: in the catalog, or of the file.
        purpose: what it restores, in words.
        origin: "bundled", "published" or "file".
        here: whether its weights are on this machine.
        licence: what is known about the right to use the weights.
        quality: as published or by its card; None where no source is known.
        network: with its settings; its weights do not matter.
    """

    name: str
    purpose: str
    origin: str
    here: bool
    licence: str
    quality: str | None
    network: Network


def info(
    model: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE",
            help="A model, as `mair download --list` shows them, or a checkpoint file.",
            autocompletion=completion.models,
        ),
    ],
    stripe: Stripe = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else there.")] = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Show what a model is: task, settings, parameters, multiply-adds as papers count them, memory, licence.

    Nothing is fetched: the catalog knows the settings of published models.
    """
    console.configure(verbose=verbose, quiet=quiet)
    from mair_cli.restore.loading import names_a_file

    facts = _facts(_of_file(Path(model), stripe) if names_a_file(model) else _of_catalog(model, stripe))
    if as_json:
        console.record(facts)
    else:
        console.table(str(facts["name"]), (), _for_people(facts))
    return 0


def _of_catalog(name: str, stripe: int | None) -> Subject:
    from mair_cli.networks import build_network
    from mair_cli.weights import cache, catalog, checkpoint

    if stripe is not None:
        raise UsageError("`stripe` belongs to a file: models of the catalog know theirs.")
    entry = catalog.find(name)
    # Settings of bundled models are in their files only.
    network = build_network(entry.config) if entry.config else checkpoint.load_network(cache.weights_file(entry))
    here = cache.is_available(entry)
    return Subject(entry.name, entry.purpose, entry.origin, here, entry.licence, entry.figure, network)


def _of_file(path: Path, stripe: int | None) -> Subject:
    from mair_cli.networks import build_network
    from mair_cli.weights.checkpoint import load_checkpoint

    if not path.exists():
        raise UsageError(f"{path}: no such file, and no model's name.")
    checkpoint = load_checkpoint(path, stripe=stripe)
    network = build_network(checkpoint.config)
    task = TASKS.get(checkpoint.metadata.get("task", "sr" if network.scale > 1 else ""))
    purpose = "the file does not say" if task is None else task.title(scale=network.scale)
    licence = checkpoint.metadata.get("licence", "the file states none")
    return Subject(path.name, purpose, "file", True, licence, None, network)


def _facts(subject: Subject) -> dict[str, object]:
    network = subject.network
    multiply_adds, counted_for = network.multiply_adds()
    settings = {
        key: list(value) if isinstance(value, tuple) else value for key, value in network.config.to_mapping().items()
    }
    return {
        "name": subject.name,
        "restores": subject.purpose,
        "origin": subject.origin,
        "here": subject.here,
        "quality": subject.quality,
        "scale": network.scale,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "multiply_adds": round(multiply_adds),
        "multiply_adds_for": counted_for,
        "stripe": network.stripe,
        "levels": [_OPTIONS[name] for name in network.levels],
        "memory_per_megapixel": network.memory_per_pixel * _MEGAPIXEL,
        "settings": settings,
        "licence": subject.licence,
    }


def _for_people(facts: Mapping[str, object]) -> list[tuple[str, str]]:
    """Name and text of each fact; settings come last, a line each."""
    levels, settings = facts["levels"], facts["settings"]
    assert isinstance(levels, list)
    assert isinstance(settings, dict)
    here = "" if facts["here"] else f", not here yet: `mair download {facts['name']}`"
    return [
        ("restores", str(facts["restores"])),
        ("weights", f"{facts['origin']}{here}"),
        ("quality", str(facts["quality"] or "no figure known")),
        ("parameters", f"{facts['parameters']:,}"),
        ("multiply-adds", f"{float(str(facts['multiply_adds'])) / 1e9:.2f} G for a {facts['multiply_adds_for']}"),
        ("stripe", f"{facts['stripe']} pixels wide" if facts["stripe"] else "none"),
        ("can be told", ", ".join(f"--{level}" for level in levels) or "nothing"),
        ("memory", f"{float(str(facts['memory_per_megapixel'])) / 2**30:.1f} GiB per megapixel of what is run at once"),
        ("licence", str(facts["licence"])),
        *((f"  {name}", json.dumps(value)) for name, value in settings.items()),
    ]
