"""`mair benchmark` and `mair compare`, as users call them."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from calling import TINY_X4, drawing, files, mair, photo
from PIL import Image

pytestmark = pytest.mark.usefixtures("settled_below")


def _pictures(*names: str, size: tuple[int, int] = (60, 52)) -> None:
    for index, name in enumerate(names):
        photo(f"set/{name}.png", size[0] + 4 * index, size[1])


def _state_files() -> set[str]:
    cache = Path(os.environ["MAIR_CACHE_DIR"])
    return files(cache) if cache.is_dir() else set()


def test_models_and_baselines_stand_side_by_side() -> None:
    _pictures("a", "b")
    ran = mair("benchmark", "-d", "set", "-m", "bicubic", "-m", "nearest", *TINY_X4, "--device", "cpu")
    assert ran.code == 0
    for text in ("bicubic", "nearest", "light_d1_x4", "PSNR", "SSIM", "MP/s"):
        assert text in ran.text
    assert "low-resolution inputs are made" in ran.err
    assert "light_d1_x4.pth (file)" in ran.err


def test_all_reports_hold_the_same_means() -> None:
    _pictures("a", "b")
    ran = mair(
        "benchmark", "-d", "set", "--scale", 2, "-m", "bicubic", "-m", "nearest",
        "--json", "out/r.json", "--csv", "out/r.csv", "--html", "out/r.html", "--save-images", "out/images",
        "--markdown", "out/r.md", "--latex", "out/r.tex",
    )  # fmt: skip
    assert ran.code == 0
    content = json.loads(Path("out/r.json").read_text())
    means = {method["name"]: method["psnr_y"] for method in content["methods"]}
    table = csv.DictReader(Path("out/r.csv").read_text().splitlines())
    lines = [line for line in table if line["image"] == "mean"]
    assert {line["method"]: float(line["psnr_y"]) for line in lines} == pytest.approx(means)
    page = Path("out/r.html").read_text(encoding="utf-8")
    for name, value in means.items():
        assert f"{value:.2f}" in page
        assert f"| {name} | 2 | {value:.2f} |" in Path("out/r.md").read_text(encoding="utf-8")
        assert f"{name} & 2 & {value:.2f} &" in Path("out/r.tex").read_text(encoding="utf-8")
        assert f"{value:.2f}" in ran.text
        assert name in page
    saved = {f"images/{method}/{name}.png" for method in ("bicubic", "nearest") for name in ("a", "b")}
    assert files("out") == {"r.json", "r.csv", "r.html", "r.md", "r.tex", *saved}
    assert np.asarray(Image.open("out/images/bicubic/a.png")).shape == (52, 60, 3)
    assert not _state_files()


def test_denoising_is_measured_with_the_published_noise_at_any_level() -> None:
    _pictures("a")
    ran = mair("benchmark", "-d", "set", "--task", "denoise", "--sigma", "12.5", "-m", "none", "--json", "r.json")
    assert ran.code == 0
    content = json.loads(Path("r.json").read_text())
    # Noise of that level alone, before clipping, gives 26.2 dB.
    assert content["methods"][0]["psnr_rgb"] == pytest.approx(20 * np.log10(255 / 12.5), abs=1.0)
    assert content["headline"] == "rgb"


def test_haze_is_measured_on_whole_images_with_both_kinds_of_ssim() -> None:
    for folder in ("hazy", "gt"):
        photo(f"set/{folder}/0001{'_0.8_0.2' if folder == 'hazy' else ''}.png", 40, 32)
    ran = mair("benchmark", "-d", "set", "--task", "dehaze", "-m", "none", "--json", "r.json", "--html", "r.html")
    assert ran.code == 0
    assert "3-D" in ran.text
    content = json.loads(Path("r.json").read_text())
    assert content["methods"][0]["ssim_3d"] == pytest.approx(1)
    assert content["settings"]["cut up"] == "not at all, whole images"
    assert "SSIM 3-D" in Path("r.html").read_text(encoding="utf-8")


def test_published_figures_stand_beside_measured_ones(corpus: Path) -> None:
    ran = mair("benchmark", "-d", "Set5", "--data-dir", corpus / "bench", "-m", "bicubic", "--json", "r.json")
    assert ran.code == 0
    assert "28.42" in ran.text
    assert "* : measured" in ran.err.replace("*:", "* :")
    content = json.loads(Path("r.json").read_text())
    assert content["methods"][0]["psnr_y"] == pytest.approx(28.42, abs=0.02)
    assert content["methods"][0]["published"]["psnr"] == 28.42
    assert len(content["images"]) == 5


def test_unfit_files_are_named_and_the_rest_is_measured() -> None:
    for name, width in (
        ("HR/a", 48),
        ("HR/wrong", 48),
        ("HR/alone", 48),
        ("LR_bicubic/X4/ax4", 12),
        ("LR_bicubic/X4/wrongx4", 9),
    ):
        photo(f"set/{name}.png", width, width)
    photo("set/LR_bicubic/X4/ghost.png", 12, 12)
    Path("set/HR/readme.txt").write_text("hello")
    Path("set/HR/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n rubbish")
    photo("set/LR_bicubic/X4/brokenx4.png", 12, 12)
    ran = mair("benchmark", "-d", "set", "-m", "bicubic", "--json", "r.json")
    assert ran.code == 1
    for name in ("readme.txt", "alone.png", "ghost.png", "broken.png", "wrongx4.png"):
        assert name in ran.err
    assert "1 of 3" in ran.text
    content = json.loads(Path("r.json").read_text())
    assert (content["methods"][0]["images"], content["methods"][0]["failed"]) == (1, 2)
    assert len(content["problems"]) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-d", "Set6"), "Known sets"),
        (("-d", "set", "--task", "paint"), "--task paint"),
        (("-d", "set", "--scale", 5), "--scale 5"),
        (("-d", "set", "--task", "denoise", "--scale", 2), "--scale"),
        (("-d", "set", "--tile", "big"), "--tile big"),
        (("-d", "set", "-m", "bicubic", "-m", "bicubic"), "twice"),
        (("-d", "set", "-m", "none"), "--model none"),
        (("-d", "set", "-m", "mair-tiny"), "mair-tiny"),
        (("-d", "empty"), "empty"),
        (("-d", "Set5"), "--data-dir"),
        (("-d", "set", "--dnd-bundle", "out"), "--dnd-bundle"),
        (("-d", "set", "--task", "deblur"), "input/ and target/"),
    ],
)
def test_wrong_usage_says_what_is_wrong(arguments: tuple[object, ...], message: str) -> None:
    _pictures("a")
    Path("empty").mkdir()
    ran = mair("benchmark", *arguments)
    assert ran.code in (1, 2)
    assert message in ran.err
    assert len(ran.err.strip().splitlines()) <= 3
    assert ran.out == b""


def test_tiles_of_the_tool_itself_can_be_measured() -> None:
    _pictures("a", size=(128, 128))
    means = []
    for tile in ("partition", "0", "16"):
        mair("benchmark", "-d", "set", "-m", "bicubic", *TINY_X4, "--tile", tile, "--device", "cpu", "--json", "r.json")
        means.append(json.loads(Path("r.json").read_text())["methods"][1]["psnr_y"])
    assert means[0] == pytest.approx(means[1], abs=1e-6)  # one part: the image is smaller than 200 pixels
    assert means[2] != means[1]


def test_first_images_only() -> None:
    _pictures("a", "b", "c")
    assert mair("benchmark", "-d", "set", "-m", "bicubic", "--limit", 2, "--json", "r.json").code == 0
    assert len(json.loads(Path("r.json").read_text())["images"]) == 2


def test_page_shows_only_as_many_sliders_as_asked_for() -> None:
    _pictures("a", "b", "c")
    mair("benchmark", "-d", "set", "-m", "bicubic", "-m", "nearest", "--html", "r.html", "--html-images", 1)
    page = Path("r.html").read_text(encoding="utf-8")
    assert page.count('class="card viewer"') == 1
    assert "1 of 3 images" in page


def test_interrupted_run_goes_on_with_the_same_command() -> None:
    """A real interruption of a real process: Ctrl-C after the first images."""
    for index in range(12):
        Path("set").mkdir(exist_ok=True)
        drawing(480 + index, 360).save(f"set/p{index:02d}.png")
    command = [sys.executable, "-m", "mair_cli", "benchmark", "-d", "set", "-m", "bicubic", "--scale", "2", "-v"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    cache = Path(os.environ["MAIR_CACHE_DIR"])
    while not any(path.stat().st_size for path in cache.rglob("rows.jsonl")):  # it is there before its first line
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "the same command goes on from there" in err
    ran = mair("benchmark", "-d", "set", "-m", "bicubic", "--scale", 2)
    assert ran.code == 0
    assert "results come from an interrupted run" in ran.err
    assert not _state_files()


def test_compare_measures_against_the_last_image_and_writes_the_slider_page() -> None:
    first = photo("first.png", 48, 40)
    Image.open(first).resize((24, 20)).save("small.png")
    Image.open(first).point(lambda value: min(255, value + 2)).save("second.png")
    ran = mair("compare", "small.png", "second.png", "first.png", "--html", "page.html")
    assert ran.code == 0
    lines = ran.text.splitlines()
    assert [line.split(":")[0] for line in lines] == ["small.png against first.png", "second.png against first.png"]
    assert "small.png was enlarged ×2" in ran.err
    page = Path("page.html").read_text(encoding="utf-8")
    assert page.count("data:image/webp") == 3
    records = mair("compare", "first.png", "first.png", "--json").records
    assert [(record["psnr_y"], record["ssim_y"]) for record in records] == [(None, pytest.approx(1.0))]


@pytest.mark.parametrize(
    "names", [("a.png",), ("a.png", "a.png", "a.png", "a.png"), ("a.png", "b.png"), ("a.png", "c.png")]
)
def test_compare_says_what_it_cannot_compare(names: tuple[str, ...]) -> None:
    photo("a.png", 48, 40)
    photo("c.png", 47, 41)
    ran = mair("compare", *names)
    assert ran.code in (1, 2)
    assert "error" in ran.err
    assert ran.out == b""
