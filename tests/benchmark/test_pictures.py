"""The parts of the page: plot, details, tables, pictures."""

from __future__ import annotations

import base64
import io
import math
import os
import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from mair_cli.benchmark.page import Cell, Column, Layer, embed, fill, table, viewer
from mair_cli.benchmark.peak_memory import PeakMemory
from mair_cli.benchmark.plot import Point, Reference, quality_time_plot
from mair_cli.measure.differences import most_different_spot


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


def test_names_cannot_break_out_of_the_page() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    evil = '"><script>alert(1)</script>'
    text = fill(evil, viewer(evil, [Layer(evil, image, evil), Layer("b", image)]))
    assert "<script>alert" not in text
    assert "{{" not in text


def test_braces_in_names_are_left_alone() -> None:
    assert "{{body}}" in fill("{{body}}", "text")


def test_table_sorts_by_value_and_keeps_its_foot_apart() -> None:
    text = table(
        [Column("n", numeric=False), Column("x")],
        [[Cell("a", "a"), Cell("∞", math.inf)]],
        foot=[Cell("mean"), Cell("1")],
    )
    assert 'data-value="Infinity"' in text
    assert re.search(r"<tbody><tr>.*a.*</tr></tbody><tfoot>", text)


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


def test_detail_is_where_images_differ_most() -> None:
    first = np.full((100, 140, 3), 80, np.uint8)
    second = first.copy()
    second[60:90, 95:125] = 200
    spot = most_different_spot([first, second, first], side=24)
    assert spot.side == 24
    assert 60 <= spot.top <= 66
    assert 95 <= spot.left <= 101
    assert spot.cut(second).shape == (24, 24, 3)
    assert spot.difference == pytest.approx(120 * 219 / 255)


def test_detail_of_a_small_image_is_the_whole_image() -> None:
    image = np.zeros((9, 20, 3), np.uint8)
    assert most_different_spot([image, image], side=64).side == 9


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the peak cannot be set back here")
def test_peak_memory_counts_what_was_taken_in_between() -> None:
    with PeakMemory(torch.device("cpu")) as idle:
        pass
    with PeakMemory(torch.device("cpu")) as busy:
        np.ones(2**26, np.uint8)[::4096].sum()
    assert idle.bytes is not None
    assert busy.bytes is not None
    assert busy.bytes > idle.bytes + 48 * 2**20
