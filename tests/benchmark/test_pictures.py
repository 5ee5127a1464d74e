"""The parts of the page: plot, details, tables, pictures."""

from __future__ import annotations

import base64
import html
import io
import math
import os
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from drawn_benchmark import DrawnBenchmark
from jinja2 import UndefinedError
from markupsafe import escape
from PIL import Image

from mair_cli.benchmark.html import render_html
from mair_cli.benchmark.methods import BaselineMethod
from mair_cli.benchmark.page import _environment, embed, render
from mair_cli.benchmark.peak_memory import PeakMemory
from mair_cli.benchmark.plot import Point, Reference, quality_time_plot
from mair_cli.benchmark.published import PublishedFigure
from mair_cli.benchmark.report import BenchmarkReport
from mair_cli.benchmark.runs import BenchmarkResults
from mair_cli.measure.protocol import MeasureProtocol


def _decoded(address: str) -> np.ndarray:
    kind, data = address.split(",", 1)
    assert kind in ("data:image/webp;base64", "data:image/png;base64")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


@pytest.mark.parametrize("shape", [(7, 9, 3), (1, 1, 3), (2, 16390, 3)])
def test_pictures_are_embedded_bit_for_bit(shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(_decoded(embed(image)), image)


def test_lossy_pictures_are_close_and_smaller() -> None:
    y, x = np.mgrid[0:64, 0:64]
    image = np.stack([x * 4, y * 4, x + y], axis=-1).astype(np.uint8)
    image[::3] //= 2
    assert len(embed(image, lossless=False)) < len(
        embed(np.random.default_rng(0).integers(0, 256, image.shape, dtype=np.uint8))
    )
    assert np.abs(_decoded(embed(image, lossless=False)).astype(int) - image).mean() < 12


@pytest.fixture
def page(tmp_path: Path) -> Callable[[str], str]:
    """The page of a benchmark in which everything that has a name has the given one."""
    run = DrawnBenchmark.below(tmp_path)(keep_outputs=True)
    for name in ("bicubic", "nearest"):
        run.run(BaselineMethod(name, MeasureProtocol("sr", 2)))

    def made(name: str) -> str:
        outcome = run.outcome
        names = {info.name: name * (index + 1) for index, info in enumerate(outcome.methods)}
        methods = [replace(info, name=names[info.name], description=name) for info in outcome.methods]
        rows = [replace(row, method=names[row.method]) for row in outcome.rows]
        rows[-1] = replace(rows[-1], measurement=None, error=name)
        states = {names[method]: state for method, state in outcome.states.items()}
        figure = PublishedFigure(name, "sr", "Set5", 2, 30.0, None, name, True, name, name)
        return render_html(
            BenchmarkReport(
                name,
                BenchmarkResults(outcome.protocol, outcome.samples, methods, rows, states),
                {name: name},
                {name: name},
                [figure],
                full_set=3,
                problems=[name],
                notes=[name],
            )
        )

    return made


def test_names_cannot_break_out_of_the_page(page: Callable[[str], str]) -> None:
    evil = "\"'><script>alert(1)</script>&amp;"
    text = page(evil)
    assert "<script>alert" not in text
    assert text.count("<script>") == 1
    assert text.count(html.escape(evil)) + text.count(str(escape(evil))) > 15
    assert not re.search(r"""=["'][^"'>]*["']><script>alert""", text)


def test_braces_in_names_are_left_alone(page: Callable[[str], str]) -> None:
    text = page("{{ 7 * 6 }}{% raw %}")
    assert "{{ 7 * 6 }}{% raw %}" in text
    assert "42{%" not in text


def test_name_that_the_template_lacks_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render("comparison.html", title="a")


def test_table_sorts_by_value_and_keeps_its_foot_apart(page: Callable[[str], str]) -> None:
    (table,) = re.findall(r'<table class="sortable wide">.*?</table>', page("x"), re.DOTALL)
    body, foot = re.fullmatch(r".*<tbody>(.*)</tbody>\s*<tfoot>(.*)</tfoot>.*", table, re.DOTALL).groups()  # type: ignore[union-attr]
    assert body.count("<tr>") == 3
    assert foot.count("<tr>") == 1
    assert "mean" in foot
    assert "mean" not in body
    widths = [len(re.findall("<t[dh]", row)) for row in re.findall("<tr>.*?</tr>", body + foot, re.DOTALL)]
    assert widths == [2 + 3 * 2] * 4
    for psnr, shown in re.findall(r'<td class="psnr"[^>]* data-value="([^"]*)">([^<]*)</td>', body):
        assert f"{float(psnr):.2f}" == shown


def test_infinite_psnr_sorts_above_all_others() -> None:
    template = '{% from "parts.html" import cell %}{{ cell("∞", value) }}{{ cell("x") }}'
    text = _environment("mair_cli.benchmark").from_string(template).render(value=math.inf)
    assert re.findall(r'data-value="(.*?)">(.*?)<', text) == [("Infinity", "∞"), ("", "–")]


def _texts(drawing: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(drawing).iter() if element.tag == "text"]


def test_plot_is_well_formed_and_names_every_method() -> None:
    points = [Point("bicubic <&>", 0.004, 28.4), Point("model", 1.5, 30.8)]
    drawing = quality_time_plot(points, [Reference("paper", 32.1)], "Y")
    assert {"bicubic <&>", "model", "paper 32.10", "10 ms", "1 s"} <= set(_texts(drawing))
    circles = [element.attrib for element in ElementTree.fromstring(drawing).iter() if element.tag == "circle"]
    assert float(circles[0]["cx"]) < float(circles[1]["cx"])
    assert float(circles[0]["cy"]) > float(circles[1]["cy"])


def test_plot_keeps_close_references_apart() -> None:
    references = [Reference(f"r{index}", 32 + index / 1000) for index in range(5)]
    drawing = ElementTree.fromstring(quality_time_plot([Point("m", 1, 30)], references, "Y"))
    heights = sorted(
        float(element.attrib["y"])
        for element in drawing.iter()
        if element.tag == "text" and (element.text or "").startswith("r")
    )
    assert all(b - a >= 13.9 for a, b in pairwise(heights))


@pytest.mark.parametrize(
    "points",
    [[Point("a", 1.0, 30.0)], [Point("a", 1e-7, 30.0), Point("b", 1e4, 30.0)], [Point("a", 1, 5), Point("b", 1, 95)]],
)
def test_plot_takes_any_range(points: list[Point]) -> None:
    assert "nan" not in quality_time_plot(points, [], "RGB")


def test_plot_without_finite_points_is_left_out() -> None:
    assert quality_time_plot([Point("equal", 1.0, math.inf)], [], "Y") == ""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the peak cannot be set back here")
def test_peak_memory_counts_what_was_taken_in_between() -> None:
    with PeakMemory(torch.device("cpu")) as idle:
        pass
    with PeakMemory(torch.device("cpu")) as busy:
        np.ones(2**26, np.uint8)[::4096].sum()
    assert idle.bytes is not None
    assert busy.bytes is not None
    assert busy.bytes > idle.bytes + 48 * 2**20
