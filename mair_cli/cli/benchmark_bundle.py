"""`mair benchmark --dnd-bundle`: no figures, but the files from which DND's server makes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mair_cli.cli import console
from mair_cli.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from mair_cli.restore.settings import RunSettings


def write_dnd_bundle(folder: Path, output: Path, task: str, methods: Sequence[tuple[str, RunSettings]]) -> int:
    """Restore DND with the one network among `methods` and write its bundle; the exit code."""
    from mair_cli.benchmark.dnd import bundle_dnd
    from mair_cli.benchmark.methods import BASELINES, weights_digest
    from mair_cli.restore.restorer import Restorer

    networks = [(name, run) for name, run in methods if run.weights is not None or name not in BASELINES]
    if len(networks) != 1 or task != "real-denoise":
        raise UsageError("--dnd-bundle is for --task real-denoise and one network: name it with --model or --weights")
    ((name, run),) = networks
    restorer = Restorer(run.with_(task=task, model="auto" if run.weights is not None else name))
    console.note(f"{restorer.model_name}: {restorer.description}")

    def restore(image: np.ndarray) -> np.ndarray:
        return restorer(image)

    made_by = {"weights": weights_digest(restorer.network), "settings": restorer.run_settings}
    with console.progress("restoring", 1, unit="img") as bar:
        written = bundle_dnd(folder, output, restore, made_by, bar.reach)
    console.note(f"{written} photographs restored; send the .mat files of {output} to DND's server")
    return 0
