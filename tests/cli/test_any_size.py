"""Results of any size, and denoising without a level, on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from calling import mair, photo, settle


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(tmp_path, monkeypatch)


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
