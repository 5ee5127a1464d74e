"""Reports say what was measured, on how many images, and what may be compared with what."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest

from mair_cli.benchmark.environment import describe_environment
from mair_cli.benchmark.methods import MethodInfo
from mair_cli.benchmark.published import published_figures
from mair_cli.benchmark.report import Report, render_csv, render_json, write_text
from mair_cli.benchmark.runs import Outcome
from mair_cli.benchmark.state import Row
from mair_cli.datasets.pairs import Sample
from mair_cli.errors import MairError
from mair_cli.measure.protocol import Measurement, Protocol

BICUBIC = MethodInfo("bicubic", "baseline", "MATLAB's")
LITE = MethodInfo("mair-lite-x4", "model", "bundled", 240_000, "ab", "mair-lite-x4")


def _report(protocol: Protocol | None = None, **fields: object) -> Report:
    protocol = protocol or Protocol("sr", 4)
    samples = [Sample(name, Path(f"{name}.png")) for name in ("one", "two")]
    rows = [
        Row("one", "bicubic", "d", 100, 80, Measurement(28.0, 0.8, 27.0, 0.7), 0.5, 2**20),
        Row("two", "bicubic", "d", 100, 80, Measurement(29.0, 0.9, 28.0, 0.8), 0.5, 2**21),
        Row("one", "mair-lite-x4", "d", 100, 80, Measurement(math.inf, 1.0, math.inf, 1.0), 2.0, None),
        Row("two", "mair-lite-x4", "", error="two.png: cut off"),
    ]
    outcome = Outcome(protocol, samples, [BICUBIC, LITE], rows)
    settings: dict[str, object] = {
        "dataset": "Set5",
        "outcome": outcome,
        "settings": {},
        "environment": {},
        "published": published_figures("Set5", protocol),
        "full_set": 5,
        "verified": (3, 4),
    }
    return Report(**(settings | fields))  # type: ignore[arg-type]


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


def test_comparison_says_which_rows_used_other_weights_and_which_set_is_incomplete() -> None:
    text = "\n".join(_report().comparison_notes())
    assert "mair-lite-x4: these are not the weights behind any published row" in text
    assert "bicubic: these are not" not in text
    assert "1 and 2 images" in text
    assert "all 5" in text
    assert "1 of 4 files differ" in text
    assert _report(published=()).comparison_notes() == []


def test_checkpoint_file_is_not_claimed_to_be_or_not_to_be_published() -> None:
    report = _report()
    report.outcome.methods[1] = MethodInfo("mine", "model", "file", 1, "ab", "")
    report.outcome.rows[2:] = []
    fresh = _report(outcome=report.outcome)
    assert any(note.startswith("mine: weights from a file") for note in fresh.comparison_notes())


def test_gray_images_are_pointed_out_with_what_they_change() -> None:
    report = _report()
    gray = Row("two", "bicubic", "d", 100, 80, Measurement(29.0, 0.9, 28.0, 0.8), 0.5, gray=True)
    report.outcome.rows[1] = gray
    (note,) = [note for note in report.comparison_notes() if note.startswith("two: gray")]
    assert "0.66 dB" in note  # one of two images, 20 log10(255 / 219) = 1.32 dB


def test_headline_is_on_y_for_enlarging_and_on_rgb_for_denoising() -> None:
    for protocol, value in ((Protocol("sr", 4), 28.5), (Protocol("denoise", sigma=25), 27.5)):
        report = _report(protocol)
        headline = report.headline(report.summaries[0])
        assert headline is not None
        assert headline[0] == pytest.approx(value)


def test_half_written_report_never_exists(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.json"
    write_text(path, "one")
    write_text(path, "two")
    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(MairError, match=r"report\.json"):
        write_text(path / "below.json", "three")


def test_environment_names_versions_and_hardware() -> None:
    found = describe_environment()
    assert {"mair-cli", "Python", "torch", "numpy", "system", "CPU"} <= found.keys()
    assert "threads" in found["CPU"]
