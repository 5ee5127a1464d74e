"""Ablations: which runs are made, what they cost, and the pictures of scan orders."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import image_folder, mapping, run, settings
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from mair_cli.cli.app import build_app
from mair_cli.errors import UsageError
from mair_cli.networks import build_network, set_backend
from mair_cli.networks.blocks import VisionMambaModule
from mair_cli.scan.orders import SCAN_PATTERNS, scan_orders
from mair_cli.training.recipe import Settings
from mair_cli.training.studies.ablation import SEED, Result, make_variants, summarise, write_results
from mair_cli.training.studies.order_pictures import draw_orders, order_svg
from mair_cli.training.studies.result_tables import statistics_rows
from mair_cli.training.studies.statistics import statistics_of

AXES = {"network.scan_pattern": ["nested", "raster"], "network.aggregation": ["shuffle", "sum"]}


def test_all_combinations_or_one_setting_at_a_time(tmp_path: Path) -> None:
    base = settings(tmp_path)
    assert [variant.name for variant in make_variants(base, AXES, tmp_path)] == [
        "scan_pattern=nested,aggregation=shuffle",
        "scan_pattern=nested,aggregation=sum",
        "scan_pattern=raster,aggregation=shuffle",
        "scan_pattern=raster,aggregation=sum",
    ]
    single = make_variants(base, AXES, tmp_path, one_at_a_time=True)
    assert [variant.name for variant in single] == ["base", "scan_pattern=raster", "aggregation=sum"]


def test_variants_differ_in_the_varied_setting_and_in_nothing_else(tmp_path: Path) -> None:
    base = settings(tmp_path)
    (variant,) = make_variants(base, {"network.shift": [False]}, tmp_path / "out")
    changed = variant.settings.to_mapping()
    network = changed["network"]
    assert isinstance(network, dict)
    assert network.pop("shift") is False
    original = base.to_mapping()
    assert isinstance(original["network"], dict)
    assert original["network"].pop("shift") is True
    assert {key for key in changed if changed[key] != original[key]} == {"name", "output"}
    assert variant.settings.folder == tmp_path / "out" / "shift=false"


@pytest.mark.parametrize(
    "axes", [{}, {"network.scan_patern": ["nested"]}, {"nets.x": [1]}, {"network.scan_len": ["wide"]}]
)
def test_axes_that_make_no_sense_are_refused(tmp_path: Path, axes: dict[str, list[object]]) -> None:
    with pytest.raises(UsageError):
        make_variants(settings(tmp_path), axes, tmp_path)


def test_results_hold_what_the_runs_measured(tmp_path: Path) -> None:
    base = settings(tmp_path, training={"steps": 4, "log_every": 2}, validation={"every": 2})
    results = []
    for variant in make_variants(base, {"network.aggregation": ["shuffle", "sum"]}, tmp_path / "out"):
        outcome = run(variant.settings)
        results.append(summarise(variant))
        assert results[-1].best_psnr == pytest.approx(outcome.best)
        assert results[-1].steps == 4
    shuffle, plain = results
    directions, inner, modules = 4, 8, 2
    assert shuffle.parameters - plain.parameters == modules * inner * directions * (directions + 1)
    write_results(tmp_path, results)
    with (tmp_path / "ablation.csv").open(newline="") as stream:
        assert [row["variant"] for row in csv.DictReader(stream)] == ["aggregation=shuffle", "aggregation=sum"]
    assert json.loads((tmp_path / "ablation.json").read_text())[1]["psnr"] == plain.psnr


def test_a_run_without_validation_cannot_be_compared(tmp_path: Path) -> None:
    base = settings(tmp_path, training={"steps": 1}, validation={"holdout": 0})
    (variant,) = make_variants(base, {"network.shift": [True]}, tmp_path / "out")
    run(variant.settings)
    with pytest.raises(UsageError, match="holdout"):
        summarise(variant)


@pytest.mark.parametrize("upsampler", ["pixelshuffledirect", "pixelshuffle", ""])
def test_multiply_adds_are_those_that_pytorch_counts_and_the_scans(tmp_path: Path, upsampler: str) -> None:
    config = {"upscale": 2 if upsampler else 1, "upsampler": upsampler, "embed_dim": 20, "depths": [2], "d_state": 3}
    network = build_network(config)
    set_backend(network, "numba")  # which PyTorch's counter does not see
    side = 8
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, side, side))
    scan = 0
    for module in network.modules():
        if isinstance(module, VisionMambaModule):
            directions, inner, rank = module.dt_projs_weight.shape
            scan += directions * inner * (rank + 9 * 3 + 1)
    gating = sum(4 * 20 * 4 for _ in range(2)) / side**2  # once per image, not per pixel
    counted = counter.get_total_flops() / 2 / side**2 + scan
    assert network.multiply_adds_per_pixel() == pytest.approx(counted, abs=8 * gating)


def test_every_pattern_is_drawn_with_each_step_of_its_path(tmp_path: Path) -> None:
    written = draw_orders(tmp_path, side=6, stripe=2)
    assert [path.name for path in written] == [f"scan-{pattern}.svg" for pattern in SCAN_PATTERNS]
    for path, pattern in zip(written, SCAN_PATTERNS, strict=True):
        root = ET.parse(path).getroot()
        rows = 2 if (scan_orders(6, 6, 2, True, pattern) != scan_orders(6, 6, 2, False, pattern)).any() else 1
        space = "{http://www.w3.org/2000/svg}"
        assert len(root.findall(f".//{space}path")) == rows * 4 * 35
        assert root.findtext(f"{space}title") == f"Scan order: {pattern}"


def test_jumps_of_a_path_are_drawn_apart_from_its_steps() -> None:
    raster, continuous = (order_svg([scan_orders(4, 4, 2, False, name)], 4, name) for name in ("raster", "continuous"))
    assert raster.count("dasharray") == 4 * 3
    assert continuous.count("dasharray") == 0


@pytest.mark.parametrize("name", ["ablation", "ablation-locality"])
def test_the_small_ablation_recipes_of_the_documentation_are_valid(name: str) -> None:
    from mair_cli.training.recipe import read_settings

    recipe = read_settings(Path(__file__).parents[2] / "recipes" / f"{name}.toml")
    assert isinstance(recipe, Settings)
    assert recipe.training.steps >= 1500


def _result(group: str, seed: int, psnr: float, **images: float) -> Result:
    return Result(f"{group},seed={seed}", 1, psnr, 0.8, psnr, 0.1, 10, 1.0, 1.0, group, seed, images)


def test_seeds_are_grouped_and_variants_compared_seed_by_seed() -> None:
    """What a seed changes for both variants by the same amount falls out of the difference."""
    results = [
        *(_result("a", seed, 30.0 + seed, x=30.0 + seed, y=30.0) for seed in range(3)),
        *(_result("b", seed, 30.1 + seed, x=30.2 + seed, y=29.9) for seed in (0, 1)),
        _result("c", 7, 29.0, x=1.0),
    ]
    first, second, third = statistics_of(results)
    assert (first.variant, first.seeds, first.psnr, first.psnr_deviation) == ("a", (0, 1, 2), 31.0, 1.0)
    assert (first.difference, first.images_ahead) == (None, None)
    assert second.difference == pytest.approx(0.1)
    assert second.difference_deviation == pytest.approx(0, abs=1e-9)
    assert second.images_ahead == 0.5
    assert (third.seeds, third.psnr_deviation, third.difference) == ((7,), None, None)
    rows = statistics_rows([first, second, third])
    assert rows[0][2:] == ["31.000 ± 1.000", "0.8000 ± 0.0000", "–", "–"]
    assert rows[1][4:] == ["+0.100 ± 0.000", "50%"]


def test_each_variant_is_run_with_each_seed(tmp_path: Path) -> None:
    axes: dict[str, list[object]] = {"network.shift": [True, False], SEED: [0, 1]}
    names = [
        (variant.group, variant.settings.training.seed) for variant in make_variants(settings(tmp_path), axes, tmp_path)
    ]
    assert names == [("shift=true", 0), ("shift=true", 1), ("shift=false", 0), ("shift=false", 1)]
    single = make_variants(settings(tmp_path), axes, tmp_path, one_at_a_time=True)
    assert [(variant.group, variant.settings.training.seed) for variant in single] == [
        ("base", 0),
        ("base", 1),
        ("shift=false", 0),
        ("shift=false", 1),
    ]


def test_runs_of_several_seeds_end_in_tables_and_values_of_each_image(tmp_path: Path) -> None:
    image_folder(tmp_path / "images")
    recipe = mapping(tmp_path, training={"steps": 1, "tensorboard": True}, validation={"every": 1, "holdout": 2})
    (tmp_path / "recipe.toml").write_text(tomli_w(recipe))
    out = tmp_path / "out"
    call = ["ablate", str(tmp_path / "recipe.toml"), "-o", str(out)]
    call += ["--vary", "training.seed=0,1", "--vary", "network.aggregation=shuffle,sum"]
    call += ["--markdown", str(tmp_path / "t.md"), "--latex", str(tmp_path / "t.tex")]
    for _ in range(2):  # finished runs are found finished
        done = CliRunner().invoke(build_app(call), call, env={"COLUMNS": "120"})
        assert done.exit_code == 0, done.output
    with (out / "ablation_statistics.csv").open(newline="") as stream:
        found = list(csv.DictReader(stream))
    assert [(row["variant"], row["seeds"]) for row in found] == [
        ("aggregation=shuffle", "0 1"),
        ("aggregation=sum", "0 1"),
    ]
    with (out / "ablation_images.csv").open(newline="") as stream:
        images = list(csv.DictReader(stream))
    assert len(images) == 4 * 2
    results = json.loads((out / "ablation.json").read_text())
    for result in results:
        assert result["psnr"] == pytest.approx(sum(result["images"].values()) / 2)
    assert "| aggregation=sum | 2 |" in (tmp_path / "t.md").read_text("utf-8")
    assert "aggregation=sum & 2 &" in (tmp_path / "t.tex").read_text("utf-8")
    assert list((out / "seed=0,aggregation=sum" / "tensorboard").glob("events.*"))


def tomli_w(recipe: dict[str, Any]) -> str:
    """A recipe as TOML: JSON's numbers, texts and lists are TOML's."""
    top = [f"{key} = {json.dumps(value)}" for key, value in recipe.items() if not isinstance(value, dict)]
    for name, section in recipe.items():
        if isinstance(section, dict):
            top += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in section.items())]
    return "\n".join(top)
