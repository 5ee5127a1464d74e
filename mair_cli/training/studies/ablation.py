"""Ablations: the same small training run again and again, one setting changed, everything else and the seed alike."""

from __future__ import annotations

import copy
import csv
import importlib.util
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from mair_cli.errors import UsageError
from mair_cli.networks import build_network
from mair_cli.training.files import IMAGES_FILE, STEPS_FILE, VALIDATION_FILE
from mair_cli.training.logbook import read_rows
from mair_cli.training.recipe import Settings, settings_from_mapping
from mair_cli.training.state import write_atomically

SEED = "training.seed"
"""The setting that statistics are taken over."""


@dataclass(frozen=True)
class Variant:
    """One run of an ablation.

    Attributes:
        name: what is varied, and the values.
        settings: the run.
        group: the name without the seed: runs of one group differ in that alone.
    """

    name: str
    settings: Settings
    group: str


@dataclass(frozen=True)
class Result:
    """What a variant came to.

    Attributes:
        variant: its name.
        steps: steps done.
        psnr: mean over the validation measures after the last step, dB.
        ssim: the same for SSIM.
        best_psnr: the highest mean PSNR on the way.
        loss: mean training loss of the last tenth of the log.
        parameters: of the network.
        multiply_adds: for the size that papers use (`Network.multiply_adds`), in units of 10⁹.
        seconds: time spent on the steps.
        group: name of the variant without the seed.
        seed: from which it started.
        images: PSNR of each image and degradation after the last step, by "degradation, image".
    """

    variant: str
    steps: int
    psnr: float
    ssim: float
    best_psnr: float
    loss: float
    parameters: int
    multiply_adds: float
    seconds: float
    group: str
    seed: int
    images: Mapping[str, float]


def make_variants(
    base: Settings, axes: Mapping[str, Sequence[object]], folder: Path, one_at_a_time: bool = False
) -> list[Variant]:
    """The runs of an ablation; each gets its own folder inside `folder`.

    Args:
        base: the run that is varied.
        axes: dotted names of settings, such as "network.scan_pattern", and the values each shall take.
        folder: where the runs are put.
        one_at_a_time: vary one setting at a time from `base`, instead of all combinations; each with all seeds.

    Raises:
        UsageError: a setting is unknown or a value not allowed, or there are no axes.
    """
    if not axes:
        raise UsageError("an ablation needs at least one setting to vary: `vary` network.scan_pattern=nested,raster")
    if one_at_a_time:
        others = [(key, value) for key, values in axes.items() if key != SEED for value in values]
        seeds: list[dict[str, object]] = [{SEED: seed} for seed in axes.get(SEED, ())]
        changes = [change | seed for change in ({}, *({key: value} for key, value in others)) for seed in seeds or [{}]]
    else:
        changes = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    variants: dict[str, Variant] = {}
    for change in changes:
        name = _name(change)
        mapping = copy.deepcopy(base.to_mapping())
        for key, value in change.items():
            _set(mapping, key, value)
        mapping["name"], mapping["output"] = "ablation", str(folder / name)
        settings = settings_from_mapping(mapping, name)
        if not any(_same_run(settings, other.settings) for other in variants.values()):
            variants[name] = Variant(name, settings, _name({k: v for k, v in change.items() if k != SEED}))
    return list(variants.values())


def _name(change: Mapping[str, object]) -> str:
    return ",".join(f"{key.rpartition('.')[2]}={_text(value)}" for key, value in change.items()) or "base"


def summarise(variant: Variant) -> Result:
    """Read what a finished run left in its folder."""
    settings, folder = variant.settings, variant.settings.folder
    steps, measured = read_rows(folder / STEPS_FILE), read_rows(folder / VALIDATION_FILE)
    by_step: dict[int, list[dict[str, str]]] = {}
    for row in measured:
        by_step.setdefault(int(row["step"]), []).append(row)
    if not by_step or not steps:
        raise UsageError(f"{folder} holds no measured run: the recipe needs validation.images or validation.holdout")
    psnr = {step: _mean(rows, "psnr") for step, rows in by_step.items()}
    last = max(by_step)
    tail = steps[-max(1, len(steps) // 10) :]
    torch.manual_seed(settings.training.seed)
    network = build_network(settings.network)
    return Result(
        variant=variant.name,
        steps=int(steps[-1]["step"]),
        psnr=psnr[last],
        ssim=_mean(by_step[last], "ssim"),
        best_psnr=max(psnr.values()),
        loss=_mean(tail, "loss"),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        multiply_adds=network.multiply_adds()[0] / 1e9,
        seconds=float(steps[-1]["seconds"]),
        group=variant.group,
        seed=settings.training.seed,
        images={
            f"{row['measure']}, {row['image']}": float(row["psnr"])
            for row in read_rows(folder / IMAGES_FILE)
            if int(row["step"]) == last
        },
    )


def write_results(folder: Path, results: Sequence[Result]) -> list[Path]:
    """Write what the runs came to; returns what was written.

    `ablation.csv` has a line per run, `ablation_images.csv` one per run and image, `ablation.json` both;
    `ablation.png` is drawn where matplotlib is there.
    """
    written = [folder / "ablation.csv", folder / "ablation_images.csv", folder / "ablation.json"]
    write_csv(written[0], [{k: v for k, v in asdict(result).items() if k != "images"} for result in results])
    write_csv(
        written[1],
        [
            {"variant": result.group, "seed": result.seed, "image": image, "psnr": psnr}
            for result in results
            for image, psnr in result.images.items()
        ],
    )
    write_atomically(written[2], json.dumps([asdict(result) for result in results], indent=2).encode())
    if importlib.util.find_spec("matplotlib") is not None:
        written.append(_plot(folder, results))
    return written


def write_csv(path: Path, lines: Sequence[Mapping[str, object]]) -> None:
    """Write a table, complete or not at all; the first line's keys are its columns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]) if lines else [])
    writer.writeheader()
    writer.writerows(lines)
    write_atomically(path, text.getvalue().encode())


def _plot(folder: Path, results: Sequence[Result]) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    curves, bars = figure.subplots(1, 2)
    for result in results:
        rows = read_rows(folder / result.variant / VALIDATION_FILE)
        steps = sorted({int(row["step"]) for row in rows})
        means = [_mean([row for row in rows if int(row["step"]) == step], "psnr") for step in steps]
        curves.plot(steps, means, marker=".", label=result.variant)
    curves.set(xlabel="step", ylabel="PSNR, dB")
    curves.legend(fontsize="x-small")
    bars.barh([result.variant for result in results], [result.psnr for result in results], color="tab:gray")
    values = [result.psnr for result in results]
    margin = max(0.05, max(values) - min(values))
    bars.set(xlabel="PSNR after the last step, dB", xlim=(min(values) - margin, max(values) + margin / 2))
    bars.invert_yaxis()
    path = folder / "ablation.png"
    figure.savefig(path, dpi=100)
    return path


def _set(mapping: dict[str, object], key: str, value: object) -> None:
    *sections, last = key.split(".")
    target = mapping
    for section in sections:
        child = target.get(section)
        if not isinstance(child, dict):
            raise UsageError(f"`vary` {key}: there is no section {section!r}")
        target = child
    target[last] = value


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value).replace("/", "-")


def _same_run(a: Settings, b: Settings) -> bool:
    return a.to_mapping() | {"output": ""} == b.to_mapping() | {"output": ""}


def _mean(rows: Sequence[Mapping[str, str]], column: str) -> float:
    return sum(float(row[column]) for row in rows) / len(rows)
