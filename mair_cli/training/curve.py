"""A plot of a run: loss, learning rate and what was measured, from its CSV logs."""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from pathlib import Path

from mair_cli.training.files import CURVE_FILE, STEPS_FILE, VALIDATION_FILE
from mair_cli.training.logbook import read_rows


def draw_curve(folder: Path) -> Path | None:
    """Draw `curve.png` into a run folder; returns None, doing nothing, without matplotlib or without a log."""
    steps = read_rows(folder / STEPS_FILE)
    if not steps or importlib.util.find_spec("matplotlib") is None:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    loss, quality = figure.subplots(1, 2)
    numbers = [int(row["step"]) for row in steps]
    loss.plot(numbers, [float(row["loss"]) for row in steps], linewidth=0.8)
    loss.set(xlabel="step", ylabel="loss", yscale="log")
    rate = loss.twinx()
    rate.plot(numbers, [float(row["learning_rate"]) for row in steps], color="tab:gray", linewidth=0.8)
    rate.set_ylabel("learning rate", color="tab:gray")
    for measure, rows in _by_measure(folder).items():
        quality.plot(*zip(*rows, strict=True), marker=".", label=measure)
    quality.set(xlabel="step", ylabel="PSNR, dB")
    if quality.lines:
        quality.legend()
    path = folder / CURVE_FILE
    figure.savefig(path, dpi=100)
    return path


def _by_measure(folder: Path) -> dict[str, list[tuple[int, float]]]:
    grouped = defaultdict(list)
    for row in read_rows(folder / VALIDATION_FILE):
        grouped[row["measure"]].append((int(row["step"]), float(row["psnr"])))
    return dict(grouped)
