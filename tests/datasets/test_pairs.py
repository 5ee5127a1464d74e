from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from mair_cli.datasets.pairs import find_samples
from mair_cli.errors import UsageError


def _touch(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _names(folder: Path, scale: int = 4) -> list[tuple[str, str, str | None]]:
    return [
        (sample.name, sample.truth.name, sample.degraded.name if sample.degraded else None)
        for sample in find_samples(folder, "sr", scale).samples
    ]


def test_pairs_by_name_in_one_folder_per_scale(tmp_path: Path) -> None:
    _touch(
        tmp_path,
        [f"image_SRF_{s}/img_{i:03d}_SRF_{s}_{kind}.png" for s in (2, 4) for i in (1, 2, 10) for kind in ("HR", "LR")],
    )
    expected = [(f"img_{i:03d}", f"img_{i:03d}_SRF_4_HR.png", f"img_{i:03d}_SRF_4_LR.png") for i in (1, 2, 10)]
    assert _names(tmp_path) == expected
    assert _names(tmp_path / "image_SRF_4") == expected


def test_missing_scale_falls_back_to_ground_truth_and_says_so(tmp_path: Path) -> None:
    _touch(tmp_path, ["image_SRF_4/img_001_SRF_4_HR.png", "image_SRF_4/img_001_SRF_4_LR.png"])
    listing = find_samples(tmp_path, "sr", 2)
    assert [(sample.name, sample.degraded) for sample in listing.samples] == [("img_001", None)]
    assert "no pairs for x2" in listing.notes[0]


@pytest.mark.parametrize(
    ("truths", "smalls"),
    [
        ("HR", "LR_bicubic/X4"),
        ("hr", "lr_bicubic/x4"),
        ("GTmod12", "LRbicx4"),
        ("DIV2K_valid_HR", "DIV2K_valid_LR_bicubic/X4"),
    ],
)
def test_ground_truth_and_low_resolution_in_folders_of_their_own(tmp_path: Path, truths: str, smalls: str) -> None:
    _touch(tmp_path, [f"{truths}/0801.png", f"{truths}/0802.png", f"{smalls}/0801x4.png", f"{smalls}/0802x4.png"])
    assert _names(tmp_path) == [("0801", "0801.png", "0801x4.png"), ("0802", "0802.png", "0802x4.png")]


def test_mixed_names_missing_partners_and_extra_files_are_each_named(tmp_path: Path) -> None:
    _touch(tmp_path, ["HR/baby.png", "HR/Bird.PNG", "HR/head.bmp", "HR/woman.png", "HR/notes.txt", "HR/.DS_Store"])
    _touch(tmp_path, [f"LR_bicubic/X4/{name}" for name in ("babyx4.png", "bird.png", "head_x4.png", "ghost.png")])
    listing = find_samples(tmp_path, "sr", 4)
    assert [sample.name for sample in listing.samples] == ["baby", "Bird", "head"]
    text = "\n".join(listing.problems)
    for name in ("notes.txt", "ghost.png", "woman.png"):
        assert name in text
    assert ".DS_Store" not in text
    assert len(listing.problems) == 3


def test_named_pairs_with_gaps_are_each_named(tmp_path: Path) -> None:
    names = ["a_SRF_4_HR.png", "a_SRF_4_LR.png", "b_SRF_4_HR.png", "c_SRF_4_LR.png", "a_SRF_4_SRCNN.png", "x.db"]
    _touch(tmp_path, [f"image_SRF_4/{name}" for name in names])
    listing = find_samples(tmp_path, "sr", 4)
    assert [sample.name for sample in listing.samples] == ["a"]
    text = "\n".join(listing.problems)
    for name in ("b_SRF_4_LR.png", "c_SRF_4_HR.png", "a_SRF_4_SRCNN.png", "x.db"):
        assert name in text


def test_two_files_of_one_name_do_not_hide_each_other(tmp_path: Path) -> None:
    _touch(tmp_path, ["HR/a.png", "HR/a.jpg", "LR_bicubic/X2/ax2.png"])
    listing = find_samples(tmp_path, "sr", 2)
    assert len(listing.samples) == 1
    assert any("a.png" in problem and "a.jpg" in problem for problem in listing.problems)
    bare = tmp_path / "HR"
    assert sorted(sample.name for sample in find_samples(bare, "sr", 2).samples) == ["a.jpg", "a.png"]


def test_bare_folder_is_ground_truth_in_natural_order(tmp_path: Path) -> None:
    _touch(tmp_path, ["kodim10.png", "kodim2.png", "read.me"])
    for task in ("sr", "denoise"):
        listing = find_samples(tmp_path, task, 4 if task == "sr" else 1)
        assert [sample.name for sample in listing.samples] == ["kodim2", "kodim10"]
        assert listing.samples[0].degraded is None
        assert listing.problems == ["read.me: not an image, left out"]


def test_blurred_and_hazy_inputs_find_their_ground_truth(tmp_path: Path) -> None:
    _touch(tmp_path, ["target/1400.png", "target/1401.png", "input/1400_1.png", "input/1400_2.png", "input/1401.png"])
    listing = find_samples(tmp_path, "dehaze")
    assert [(sample.name, sample.truth.name) for sample in listing.samples] == [
        ("1400_1", "1400.png"),
        ("1400_2", "1400.png"),
        ("1401", "1401.png"),
    ]


def test_hazy_inputs_of_sots_find_their_ground_truth_by_what_stands_before_the_first_underscore(tmp_path: Path) -> None:
    hazy = ["hazy/0001_0.8_0.2.jpg", "hazy/0002_1_0.16.jpg", "hazy/0003_0.9_0.2.jpg"]
    _touch(tmp_path, ["gt/0001.png", "gt/0002.png", "gt/0003_0.9.png", *hazy])
    listing = find_samples(tmp_path, "dehaze")
    assert [sample.truth.name for sample in listing.samples] == ["0001.png", "0002.png", "0003_0.9.png"]
    assert listing.problems == []


def test_nothing_to_measure_says_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a folder"):
        find_samples(tmp_path / "none", "sr", 4)
    with pytest.raises(UsageError, match="no image"):
        find_samples(tmp_path, "sr", 4)
    _touch(tmp_path, ["list.txt"])
    with pytest.raises(UsageError, match=r"list\.txt"):
        find_samples(tmp_path, "sr", 4)
    with pytest.raises(UsageError, match="two folders"):
        find_samples(tmp_path, "deblur")
