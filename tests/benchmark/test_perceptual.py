"""Perceptual measures: asked for by name, taken of each image, told in every report.

`pyiqa` itself is not needed here: a stand-in has its interface (`list_models`, `create_metric`, and of a metric
`metric_mode`, `lower_better` and a call on tensors), with measures that can be computed by hand.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from urllib.error import URLError

import numpy as np
import pytest
import torch
from drawn_benchmark import DrawnBenchmark
from torch import Tensor, nn

from mair_cli.benchmark.methods import build_method
from mair_cli.benchmark.report import BenchmarkReport, render_csv, render_json
from mair_cli.benchmark.report_tables import render_markdown
from mair_cli.errors import DownloadError, OfflineError, UsageError
from mair_cli.measure.perceptual import open_measures
from mair_cli.measure.protocol import MeasureProtocol
from mair_cli.restore.settings import RunSettings

CPU = torch.device("cpu")


class Difference(nn.Module):
    """Full reference: mean absolute difference."""

    metric_mode, lower_better = "FR", True

    def forward(self, target: Tensor, ref: Tensor) -> Tensor:
        assert target.shape == ref.shape
        assert target.shape[:2] == (1, 3)
        assert 0 <= float(target.min()) <= float(target.max()) <= 1
        return (target - ref).abs().mean()


class Brightness(nn.Module):
    """No reference: mean of the image."""

    metric_mode, lower_better = "NR", False

    def forward(self, target: Tensor) -> Tensor:
        return target.mean()[None]


@pytest.fixture
def _pyiqa(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("pyiqa")

    def create_metric(name: str, device: torch.device) -> nn.Module:
        sys.stdout.write("Downloading …")
        if name == "dists":
            raise URLError("no route")
        return Difference() if name == "lpips" else Brightness()

    module.__dict__.update(list_models=lambda: ["dists", "fid", "lpips", "niqe"], create_metric=create_metric)
    monkeypatch.setitem(sys.modules, "pyiqa", module)
    monkeypatch.delenv("MAIR_OFFLINE", raising=False)


@pytest.mark.usefixtures("_pyiqa")
def test_measures_are_taken_of_results_and_truth_and_told_in_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = DrawnBenchmark.below(tmp_path)()
    benchmark.measures = open_measures(["lpips", "niqe"], CPU)
    assert capsys.readouterr().out == ""
    benchmark.run(build_method("bicubic", MeasureProtocol("sr", 2), RunSettings()))
    rows = [row.measurement for row in benchmark.outcome.rows]
    assert all(row is not None and 0 < row.perceptual["lpips"] < 0.2 for row in rows)
    report = BenchmarkReport("pictures", benchmark.outcome, {}, {})
    (method,) = json.loads(render_json(report))["methods"]
    assert method["lpips"] == pytest.approx(np.mean([row.perceptual["lpips"] for row in rows if row]))
    assert ",lpips,niqe," in render_csv(report).splitlines()[0]
    assert f"{method['niqe']:.4f}" in render_markdown(report)


@pytest.mark.usefixtures("_pyiqa")
@pytest.mark.parametrize(
    ("names", "error", "said"),
    [
        (["lpip"], UsageError, "no such measure; near: lpips"),
        (["lpips", "lpips"], UsageError, "once"),
        (["fid"], UsageError, "compares sets"),
        (["dists"], DownloadError, "no route"),
    ],
)
def test_what_cannot_be_measured_is_named(names: list[str], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        open_measures(names, CPU)


@pytest.mark.usefixtures("_pyiqa")
def test_nothing_is_fetched_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIR_OFFLINE", "1")
    with pytest.raises(OfflineError, match="pyiqa"):
        open_measures(["lpips"], CPU)


def test_without_the_extra_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(UsageError, match=r"pip install 'mair-cli\[perceptual\]'"):
        open_measures(["lpips"], CPU)
    assert open_measures([], CPU) == []
