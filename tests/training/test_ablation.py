"""Ablations: which runs are made, what they cost, and the pictures of scan orders."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch
from tiny_runs import run, settings
from torch.utils.flop_counter import FlopCounterMode

from mair_cli.errors import UsageError
from mair_cli.networks import build_network, set_backend
from mair_cli.networks.blocks import VisionMambaModule
from mair_cli.scan.orders import SCAN_PATTERNS, scan_orders
from mair_cli.training.recipe import Settings
from mair_cli.training.studies.ablation import make_variants, summarise, write_results
from mair_cli.training.studies.order_pictures import draw_orders, order_svg

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


def test_the_small_ablation_recipe_of_the_documentation_is_valid() -> None:
    from mair_cli.training.recipe import read_settings

    recipe = read_settings(Path(__file__).parents[2] / "recipes" / "ablation.toml")
    assert isinstance(recipe, Settings)
    assert recipe.training.steps >= 1500
