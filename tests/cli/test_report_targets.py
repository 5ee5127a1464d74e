"""`mair benchmark` and `mair compare` destroy nothing, and names of any bytes neither stop nor steer them."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import pytest
from calling import TINY_X4, files, mair, photo

STRANGE = os.fsdecode(b"caf\xe9 \x1b[31m\xc2\x9b31m")
"""Not UTF-8, and with control sequences in seven and eight bits."""


pytestmark = pytest.mark.usefixtures("settled_below")


def _everything() -> dict[str, bytes]:
    return {name: Path(name).read_bytes() for name in files()}


@pytest.mark.parametrize("target", ["restored.png", "truth.png", "other.jpg", "link.png", "notes.html"])
def test_compare_overwrites_no_image_and_no_foreign_page(target: str) -> None:
    for name in ("restored.png", "truth.png", "other.jpg"):
        photo(name, 48, 40)
    Path("link.png").symlink_to("truth.png")
    Path("notes.html").write_text("<!doctype html>my notes")
    before = _everything()
    ran = mair("compare", "restored.png", "truth.png", "--html", target)
    assert ran.code == 2
    assert target in ran.err
    assert ran.out == b""
    assert _everything() == before


def test_compare_replaces_its_own_page() -> None:
    photo("a.png", 48, 40)
    for _ in range(2):
        assert mair("compare", "a.png", "a.png", "--html", "page.html").code == 0


@pytest.mark.parametrize("option", ["--html", "--csv", "--json"])
@pytest.mark.parametrize("target", ["set/a.png", "elsewhere.jpg", "weights.pth", "notes.txt"])
def test_benchmark_overwrites_nothing_that_is_no_report_and_measures_nothing_first(option: str, target: str) -> None:
    photo("set/a.png", 60, 52)
    photo("elsewhere.jpg", 60, 52)
    shutil.copy(TINY_X4[1], "weights.pth")
    Path("notes.txt").write_text("mine")
    before = _everything()
    ran = mair("benchmark", "-d", "set", "-m", "bicubic", "-w", "weights.pth", *TINY_X4[2:], option, target)
    assert ran.code == 2
    assert target in ran.err
    assert ran.out == b""
    assert _everything() == before


def test_file_that_would_be_lost_is_named_before_the_set_is_looked_for() -> None:
    Path("notes.txt").write_text("mine")
    ran = mair("benchmark", "-d", "Set5", "-m", "bicubic", "--csv", "notes.txt")
    assert ran.code == 2
    assert "notes.txt" in ran.err


def test_empty_image_of_the_set_is_no_place_for_a_report_either() -> None:
    photo("set/a.png", 60, 52)
    Path("set/b.png").touch()
    ran = mair("benchmark", "-d", "set", "-m", "bicubic", "--json", "set/b.png")
    assert ran.code == 2
    assert Path("set/b.png").read_bytes() == b""


def test_two_reports_need_two_files() -> None:
    photo("set/a.png", 60, 52)
    ran = mair("benchmark", "-d", "set", "-m", "bicubic", "--json", "r", "--csv", "./r")
    assert ran.code == 2
    assert files() == {"set/a.png"}


def test_restored_images_do_not_replace_those_that_are_measured() -> None:
    photo("bicubic/a.png", 60, 52)
    before = _everything()
    ran = mair("benchmark", "-d", "bicubic", "-m", "bicubic", "--save-images", ".")
    assert ran.code == 2
    assert "--save-images" in ran.err
    assert _everything() == before
    assert mair("benchmark", "-d", "bicubic", "-m", "nearest", "--save-images", ".").code == 0
    assert files() == {"bicubic/a.png", "nearest/a.png"}


def test_restored_images_replace_those_of_an_earlier_benchmark_and_no_others() -> None:
    photo("set/a.png", 60, 52)
    again = ("benchmark", "-d", "set", "-m", "bicubic", "--save-images", "out")
    assert [mair(*again).code for _ in range(2)] == [0, 0]
    photo("out/bicubic/a.png", 60, 52)
    before = _everything()
    ran = mair(*again)
    assert ran.code == 2
    assert "out/bicubic/a.png is no result of mair-cli" in ran.err
    assert _everything() == before


def test_reports_are_written_whatever_bytes_names_hold() -> None:
    folder, name = f"set{STRANGE}", f"{STRANGE}.png"
    photo(f"{folder}/{name}", 60, 52)
    ran = mair(
        "benchmark", "-d", folder, "-m", "bicubic", "--html", "r.html", "--csv", "r.csv", "--json", "r.json",
        "--save-images", "out",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    for output in (ran.out, ran.err.encode()):
        assert not {0x1B, 0x9B} & {ord(character) for character in output.decode()}
    content = json.loads(Path("r.json").read_text("utf-8"))
    assert content["images"][0]["image"] == STRANGE
    assert r"\udce9" in next(csv.DictReader(Path("r.csv").read_text("utf-8").splitlines()))["image"]
    assert r"\udce9" in Path("r.html").read_text("utf-8")
    assert f"out/bicubic/{name}" in files()


def test_compare_prints_no_control_characters_of_names() -> None:
    name = f"{STRANGE}\nb.png"
    photo(name, 48, 40)
    ran = mair("compare", name, name, "--html", "page.html")
    assert ran.code == 0, ran.err
    assert ran.text.count("caf") == 2
    assert len(ran.text.splitlines()) == 1
    for output in (ran.out.decode(), ran.err):
        assert not {0x1B, 0x9B} & {ord(character) for character in output}
    assert mair("compare", name, name, "--json").records[0]["image"] == name
    assert r"\udce9" in Path("page.html").read_text("utf-8")


@pytest.mark.parametrize(("images", "compared"), [(5, True), (4, False)])
def test_means_over_a_part_of_a_set_are_not_compared_with_published_ones(images: int, compared: bool) -> None:
    for index in range(5):
        photo(f"Set5/{index}.png", 60, 52)
    limit = () if images == 5 else ("--limit", images)
    ran = mair("benchmark", "-d", "Set5", "-m", "bicubic", "--html", "r.html", "--json", "r.json", *limit)
    assert ran.code == 0
    page = Path("r.html").read_text("utf-8")
    published = json.loads(Path("r.json").read_text())["methods"][0]["published"]
    assert (published is not None) == compared
    assert ("SwinIR" in ran.text) == compared
    for text in ("bicubic is", "SwinIR", "Dotted lines"):
        assert (text in page) == compared
    for text in (page, ran.err):
        assert ("measured on 4 images; published figures are means over all 5" in text) != compared
