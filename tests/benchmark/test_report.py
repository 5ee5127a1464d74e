"""Reports say what was measured, on how many images, and what may be compared with what."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from mair_cli.benchmark.environment import describe_environment
from mair_cli.benchmark.methods import MethodInfo
from mair_cli.benchmark.published import published_figures
from mair_cli.benchmark.report import BenchmarkReport, render_csv, render_json
from mair_cli.benchmark.runs import BenchmarkResults
from mair_cli.benchmark.state import Row
from mair_cli.datasets.pairs import Sample
from mair_cli.measure.protocol import Measurement, MeasureProtocol

BICUBIC = MethodInfo("bicubic", "baseline", "MATLAB's")
LITE = MethodInfo("mair-lite-x4", "model", "bundled", 240_000, "ab", "mair-lite-x4")


def _report(protocol: MeasureProtocol | None = None, **fields: object) -> BenchmarkReport:
    protocol = protocol or MeasureProtocol("sr", 4)
    samples = [Sample(name, Path(f"{name}.png")) for name in ("one", "two")]
    rows = [
        Row("one", "bicubic", "d", 100, 80, Measurement(28.0, 0.8, 27.0, 0.7), 0.5, 2**20),
        Row("two", "bicubic", "d", 100, 80, Measurement(29.0, 0.9, 28.0, 0.8), 0.5, 2**21),
        Row("one", "mair-lite-x4", "d", 100, 80, Measurement(math.inf, 1.0, math.inf, 1.0), 2.0, None),
        Row("two", "mair-lite-x4", "", error="two.png: cut off"),
    ]
    outcome = BenchmarkResults(protocol, samples, [BICUBIC, LITE], rows)
    settings: dict[str, object] = {
        "dataset": "Set5",
        "outcome": outcome,
        "settings": {},
        "environment": {},
        "published": published_figures("Set5", protocol),
        "full_set": 2,
        "verified": (3, 4),
    }
    return BenchmarkReport(**(settings | fields))  # type: ignore[arg-type]


def test_json_holds_every_figure_and_is_strict() -> None:
    content = json.loads(render_json(_report()), parse_constant=pytest.fail)
    assert [(m["name"], m["images"], m["failed"]) for m in content["methods"]] == [
        ("bicubic", 2, 0),
        ("mair-lite-x4", 1, 1),
    ]
    assert content["methods"][0]["psnr_y"] == pytest.approx(28.5)
    assert content["methods"][0]["published"]["psnr"] == 28.42
    assert content["methods"][1]["published"] is None
    assert content["images"][2]["psnr_y"] is None
    assert content["images"][2]["equal"] is True
    assert content["images"][3]["error"] == "two.png: cut off"
    assert content["images"][0]["megapixels_per_second"] == pytest.approx(0.016)


def test_csv_has_a_line_per_image_and_method_and_the_means_with_their_counts() -> None:
    lines = list(csv.DictReader(io.StringIO(render_csv(_report()))))
    assert [(line["image"], line["method"], line["images"]) for line in lines] == [
        ("one", "bicubic", "1"),
        ("two", "bicubic", "1"),
        ("one", "mair-lite-x4", "1"),
        ("two", "mair-lite-x4", "0"),
        ("mean", "bicubic", "2"),
        ("mean", "mair-lite-x4", "1"),
    ]
    assert float(lines[4]["ssim_rgb"]) == pytest.approx(0.75)
    assert lines[4]["dataset"] == "Set5"


def test_published_figures_come_with_what_differs_in_weights_and_files() -> None:
    report = _report()
    report.outcome.rows[3] = replace(report.outcome.rows[2], image="two")
    text = "\n".join(_report(outcome=report.outcome).published_notes())
    assert "mair-lite-x4: these are not the weights behind any published row" in text
    assert "bicubic" not in text
    assert "1 of 4 files differ" in text
    assert _report(published=()).published_notes() == []


def test_method_that_failed_on_an_image_is_not_compared_with_published_means_and_the_others_are() -> None:
    report = _report()
    assert [summary.method.name for summary in report.comparable] == ["bicubic"]
    (note,) = [note for note in report.published_notes() if note.startswith("mair-lite-x4")]
    assert "measured on 1 image;" in note
    assert "means over all 2" in note
    methods = json.loads(render_json(report))["methods"]
    assert [method["published"] is None for method in methods] == [False, True]


@pytest.mark.parametrize("full_set", [5, 3, None])
def test_nothing_measured_on_other_images_than_published_means_is_compared_with_them(full_set: int | None) -> None:
    report = _report(full_set=full_set)
    assert report.comparable == []
    assert all(report.published_row(summary) is None for summary in report.summaries)
    notes = report.published_notes()
    assert [note.split(":")[0] for note in notes] == ["bicubic", "mair-lite-x4"]
    assert all("not compared" in note for note in notes)
    content = json.loads(render_json(report))
    assert all(method["published"] is None for method in content["methods"])
    assert content["comparison_notes"] == notes


def test_checkpoint_file_is_not_claimed_to_be_or_not_to_be_published() -> None:
    report = _report()
    report.outcome.methods[1] = MethodInfo("mine", "model", "file", 1, "ab", "")
    report.outcome.rows[2:] = [replace(row, method="mine") for row in report.outcome.rows[:2]]
    fresh = _report(outcome=report.outcome)
    assert any(note.startswith("mine: weights from a file") for note in fresh.published_notes())


def test_gray_images_are_pointed_out_with_what_they_change() -> None:
    report = _report()
    gray = Row("two", "bicubic", "d", 100, 80, Measurement(29.0, 0.9, 28.0, 0.8), 0.5, gray=True)
    report.outcome.rows[1] = gray
    (note,) = [note for note in report.published_notes() if note.startswith("two: gray")]
    assert "0.66 dB" in note  # one of two images, 20 log10(255 / 219) = 1.32 dB


def test_headline_is_on_y_for_enlarging_and_on_rgb_for_denoising() -> None:
    for protocol, value in ((MeasureProtocol("sr", 4), 28.5), (MeasureProtocol("denoise", sigma=25), 27.5)):
        report = _report(protocol)
        headline = report.headline(report.summaries[0])
        assert headline is not None
        assert headline[0] == pytest.approx(value)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_no_cell_of_a_csv_begins_like_a_formula(start: str) -> None:
    name = f"{start}HYPERLINK(A1)"
    lines = list(csv.reader(io.StringIO(render_csv(_named(name)))))
    assert [cell for line in lines for cell in line if "HYPERLINK" in cell] == [f"'{name}"] * 6
    # Numbers stay numbers.
    assert {cell for line in lines for cell in line if cell.startswith(("=", "+", "-", "@", "\t"))} == {"-3.0", "-0.5"}


@pytest.mark.parametrize("name", ["a\rb", "a\nb", 'a"b', "a,b", "\ra"])
def test_every_name_stays_in_its_cell(name: str) -> None:
    lines = list(csv.DictReader(io.StringIO(render_csv(_named(name)), newline="")))
    assert len(lines) == 2
    assert {line["method"].replace(r"\r", "\r") for line in lines} == {name}


def _named(name: str) -> BenchmarkReport:
    row = Row(name, name, "d", 4, 4, Measurement(-3.0, -0.5, 27.0, 0.7), 0.5, error=name)
    outcome = BenchmarkResults(
        MeasureProtocol("sr", 4), [Sample(name, Path("x"))], [replace(BICUBIC, name=name)], [row]
    )
    return _report(dataset=name, outcome=outcome, published=())


def test_environment_names_versions_and_hardware() -> None:
    found = describe_environment()
    assert {"mair-cli", "Python", "torch", "numpy", "system", "CPU"} <= found.keys()
    assert "threads" in found["CPU"]
