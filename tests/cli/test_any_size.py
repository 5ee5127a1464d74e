"""Results of any size, and denoising without a level, on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from calling import mair, photo

from mair_cli.jobs.side_by_side import Panel, side_by_side

pytestmark = pytest.mark.usefixtures("settled")


def test_any_size_gives_names_sizes_and_skipping_that_follow() -> None:
    photo("a.png", 21, 16)
    ran = mair("upscale", "a.png", "--scale", "1.5", "--json")
    assert ran.code == 0, ran.err
    (record,) = ran.records
    assert record["output"] == "a_mair_x1.5.png"
    assert record["output_width"] == 32
    assert mair("upscale", "a.png", "--scale", "1.5", "--skip-existing", "--json").records[0]["status"] == "skipped"
    again = mair("upscale", "*.png", "--size", "20x", "--dry-run")
    assert "results of earlier runs" in again.err
    assert b"a_mair_20x.png" in again.out


def test_reports_name_the_network_that_ran() -> None:
    photo("a.png", 21, 16)
    photo("b.png", 8, 6)
    for more in (("--dry-run",), ("-v",), ("--json", "--overwrite")):
        ran = mair("upscale", "a.png", "b.png", "--size", "40x", *more)
        assert ran.code == 0, ran.err
        if "-v" in more:
            assert "16 → 40×30, mair-lite-x2, " in ran.err
    assert [record["model"] for record in ran.records] == ["mair-lite-x2", "mair-lite-x2 + mair-lite-x3"]


def test_the_side_by_side_picture_names_all_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    labels: list[str] = []

    def noted(panels: list[Panel]) -> Any:
        labels.extend(panel.caption for panel in panels)
        return side_by_side(panels)

    monkeypatch.setattr("mair_cli.jobs.batch.side_by_side", noted)
    photo("a.png", 8, 6)
    assert mair("upscale", "a.png", "--scale", "5", "--compare").code == 0
    assert labels == ["input, bicubic x5", "restored, mair-lite-x2 + mair-lite-x3"]


def test_results_of_any_size_are_measured_against_ground_truth_of_theirs() -> None:
    photo("a.png", 20, 16)
    photo("truth.png", 30, 24)
    photo("other.png", 40, 32)
    (record,) = mair("upscale", "a.png", "--scale", "1.5", "--gt", "truth.png", "--json").records
    figure = record["psnr"]
    assert isinstance(figure, float)
    assert figure > 15
    ran = mair("upscale", "a.png", "--size", "30x", "--gt", "other.png")
    assert ran.code == 1
    assert "do not belong together" in ran.err


def test_a_picture_too_small_for_the_box_fails_alone() -> None:
    photo("d/a.png", 2, 2)
    photo("d/b.png", 16, 12)
    for more in (("--dry-run",), ()):
        ran = mair("upscale", "d", "--size", "40x", "--json", *more)
        assert ran.code == 1
        states = {Path(str(record["input"])).name: record["status"] for record in ran.records}
        assert states == {"a.png": "failed", "b.png": "planned" if more else "done"}
        assert "a.png: 2×2 pixels to 40x: ×20 is more than ×4 twice over" in " ".join(ran.err.split())
    assert mair("upscale", "d", "--model", "mair-lite-x2", "--scale", "5").code == 2


def test_twice_as_large_by_any_words_is_the_same_file() -> None:
    photo("a.png", 21, 16)
    written = []
    for words in (("--scale", "2"), ("--size", "200%"), ("--scale", "2.0")):
        assert mair("upscale", "a.png", *words, "--overwrite").code == 0
        written.append(Path("a_mair_x2.png").read_bytes())
    assert written[0] == written[1] == written[2]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--scale", "17"), "--scale 17"),
        (("--scale", "two"), "--scale two"),
        (("--size", "5y"), "--size 5y"),
        (("--size", "50x", "--scale", "2"), "exclude each other"),
    ],
)
def test_sizes_that_are_none_are_refused(words: tuple[str, ...], named: str) -> None:
    photo("a.png", 21, 16)
    ran = mair("upscale", "a.png", *words)
    assert ran.code == 2
    assert named in ran.err


def test_denoising_without_a_level_estimates_it_and_says_so() -> None:
    photo("a.png", 40, 30)
    ran = mair("denoise", "a.png")
    assert ran.code == 0, ran.err
    assert "(estimated)" in ran.err
    assert Path("a_mair_denoised.png").exists()
