"""What `mair benchmark` measures: models, baselines and files of weights, each under a name of its own."""

from __future__ import annotations

from pathlib import Path

from mair_cli.errors import UsageError
from mair_cli.restore.settings import RunSettings


def chosen_methods(
    models: list[str], weights: list[Path], baseline: str, run: RunSettings, stripe: int | None
) -> list[tuple[str, RunSettings]]:
    """Label and settings of each method; labels are unique, files of one name told apart by what differs."""
    if stripe is not None and not weights:
        raise UsageError("`stripe` belongs to `weights`: models of the catalog know theirs.")
    names = list(models) if models else [baseline, *([] if weights else ["auto"])]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{name} is given twice: name each method once")
    labels = _labels(weights, set(names))
    return [(name, run) for name in names] + [
        (label, run.with_(weights=path, stripe=stripe)) for label, path in zip(labels, weights, strict=True)
    ]


def _labels(files: list[Path], taken: set[str]) -> list[str]:
    """A name for each file: its stem, its whole name, or as many folders before it as tell it from the others."""
    if len({file.resolve() for file in files}) < len(files):
        raise UsageError("a weights file is given twice: name each method once")
    for candidates in (
        [file.stem for file in files],
        [file.name for file in files],
        *([str(Path(*file.resolve().parts[-depth:])) for file in files] for depth in range(2, 64)),
    ):
        if len(set(candidates) | taken) == len(files) + len(taken):
            return candidates
    raise UsageError("weights files cannot be told apart by their names: rename one")
