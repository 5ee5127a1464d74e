"""Which inputs are found, what results are called, and that nothing is ever overwritten by accident."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from mair_cli.errors import UsageError
from mair_cli.jobs.naming import Found, Source, check_targets, collect, companion, place
from mair_cli.jobs.plan import is_image_name
from mair_cli.tasks import TASKS


def is_image(name: str) -> bool:
    return name.lower().endswith((".png", ".jpg", ".bmp"))


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def found(*arguments: str, recursive: bool = False, leave_out: Path | None = None) -> Found:
    return collect(arguments, recursive=recursive, is_image=is_image, leave_out=leave_out)


def names(result: Found) -> list[str]:
    return [source.name for source in result.sources]


def placed(sources: list[Source], output: str | None = None, *, into_folder: bool = False) -> list[str]:
    extensions = [source.within.suffix or ".png" for source in sources]
    where = None if output is None else Path(output)
    places = place(sources, extensions, suffix="_mair_x4", output=where, into_folder=into_folder)
    return [Path(str(path)).as_posix() for path in places]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("task", "scale", "sigma", "expected"),
    [
        ("sr", 4, None, "_mair_x4"),
        ("sr", 2, None, "_mair_x2"),
        ("denoise", 1, 25.0, "_mair_s25"),
        ("denoise", 1, 12.5, "_mair_s12.5"),
        ("denoise", 1, None, "_mair_denoised"),
        ("real-denoise", 1, None, "_mair_denoised"),
        ("deblur", 1, None, "_mair_deblurred"),
        ("dehaze", 1, None, "_mair_dehazed"),
    ],
)
def test_the_suffix_says_what_was_done(task: str, scale: int, sigma: float | None, expected: str) -> None:
    assert TASKS[task].result_suffix(scale=scale, sigma=sigma) == expected


def test_files_folders_globs_and_stdin_mix(here: Path) -> None:
    touch(here / "a.png", here / "odd name.xyz", here / "d/c.jpg", here / "d/b.png", here / "d/notes.txt")
    touch(here / "g1.png", here / "g2.png", here / "g3.txt")
    assert names(found("a.png", "odd name.xyz", "d", "g*", "-")) == [
        "a.png",
        "odd name.xyz",
        "d/b.png",
        "d/c.jpg",
        "g1.png",
        "g2.png",
        "standard input",
    ]


def test_files_of_folders_that_are_no_images_are_told(here: Path) -> None:
    touch(here / "d/a.png", here / "d/b.heic", here / "d/sub/c.txt", here / "d/.hidden")
    assert found("d").ignored == (Path("d/b.heic"),)
    assert found("d", recursive=True).ignored == (Path("d/b.heic"), Path("d/sub/c.txt"))


def test_folders_are_descended_into_only_when_asked(here: Path) -> None:
    touch(here / "d/a.png", here / "d/sub/b.png", here / "d/.hidden/c.png", here / "d/._a.png")
    assert names(found("d")) == ["d/a.png"]
    assert names(found("d", recursive=True)) == ["d/a.png", "d/sub/b.png"]


def test_a_file_with_glob_characters_is_taken_by_its_name(here: Path) -> None:
    touch(here / "shot[1].png", here / "shot1.png")
    assert names(found("shot[1].png")) == ["shot[1].png"]


def test_results_of_an_earlier_run_below_the_input_folder_are_no_inputs(here: Path) -> None:
    touch(here / "d/a.png", here / "d/out/a.png")
    assert names(found("d", recursive=True, leave_out=Path("d/out"))) == ["d/a.png"]
    assert names(found("d", recursive=True, leave_out=Path("d"))) == ["d/a.png", "d/out/a.png"]


def test_the_same_file_named_twice_is_restored_once(here: Path) -> None:
    touch(here / "d/a.png")
    assert names(found("d/a.png", "./d/a.png", "d/../d/a.png", "d/*.png")) == ["d/a.png"]


def test_missing_inputs_are_reported_beside_those_found_and_refused_alone(here: Path) -> None:
    touch(here / "a.png")
    (here / "empty").mkdir()
    result = found("a.png", "gone.png", "none*.png", "empty", "")
    assert names(result) == ["a.png"]
    assert [name for name, _ in result.problems] == ["gone.png", "none*.png", "empty", ""]
    with pytest.raises(UsageError, match=r"gone\.png: no such file"):
        found("gone.png")
    with pytest.raises(UsageError, match=r"no images in this folder; `recursive`"):
        found("empty")


def test_standard_input_can_be_named_once_only() -> None:
    with pytest.raises(UsageError, match="only once"):
        found("-", "-")


def test_a_loop_of_links_ends(here: Path) -> None:
    touch(here / "d/a.png")
    (here / "d/loop").symlink_to(here / "d", target_is_directory=True)
    assert names(found("d", recursive=True)) == ["d/a.png"]


def test_results_lie_beside_files_and_folders_are_mirrored(here: Path) -> None:
    folder = Path("shots")
    sources = [Source(Path("p/photo.png"), alone=False), Source(Path("shots/sub/a.b.jpg"), folder=folder, alone=False)]
    assert placed(sources) == ["p/photo_mair_x4.png", "shots_mair_x4/sub/a.b.jpg"]
    assert placed(sources, "out") == ["out/photo_mair_x4.png", "out/shots/sub/a.b.jpg"]


def test_a_single_input_goes_where_the_user_says(here: Path) -> None:
    photo = Source(Path("p/photo.png"))
    assert placed([photo], "new.png") == ["new.png"]
    assert placed([photo], "new", into_folder=True) == ["new/photo_mair_x4.png"]
    assert placed([Source(Path("d/s/a.png"), folder=Path("d"))], "out") == ["out/s/a.png"]
    assert placed([Source(None)], "out.png") == ["out.png"]


def test_the_current_folder_has_a_name_too(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(here / "album/a.png", here / "album/sub/b.png")
    monkeypatch.chdir(here / "album")
    assert placed(list(found(".").sources)) == [(here / "album_mair_x4/a.png").as_posix()]
    monkeypatch.chdir(here / "album/sub")
    assert placed(list(found("..").sources)) == [(here / "album_mair_x4/a.png").as_posix()]
    with pytest.raises(UsageError, match="no name"):
        placed([Source(Path("/a.png"), folder=Path("/"))])


def test_standard_input_needs_an_output() -> None:
    with pytest.raises(UsageError, match="`output`"):
        placed([Source(None)])


def test_inputs_that_differ_in_their_extension_get_results_of_different_names() -> None:
    sources = [Source(Path("a/x.jpg"), alone=False), Source(Path("a/x.png"), alone=False)]
    results = place(sources, [".png", ".png"], suffix="_mair_x4")
    assert [p.name for p in results] == ["x_jpg_mair_x4.png", "x_png_mair_x4.png"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a/x.jpg", "b/x.jpg"),
        ("a/x.jpg", "b/X.JPG"),
        (f"a/{unicodedata.normalize('NFC', 'é')}.jpg", f"b/{unicodedata.normalize('NFD', 'é')}.jpg"),
    ],
)
def test_results_that_would_share_a_name_are_refused_up_front(first: str, second: str) -> None:
    sources = [Source(Path(first), alone=False), Source(Path(second), alone=False)]
    with pytest.raises(UsageError, match="would both be written"):
        place(sources, [".jpg", ".jpg"], suffix="_mair_x4", output=Path("out"))


def test_a_name_made_different_may_not_meet_a_third() -> None:
    sources = [Source(Path(f"a/{name}"), alone=False) for name in ("x.jpg", "x.png", "x_png.bmp")]
    with pytest.raises(UsageError, match="would both be written"):
        place(sources, [".png"] * 3, suffix="_mair_x4")


def test_results_reached_through_a_linked_folder_are_the_same_results(here: Path) -> None:
    (here / "real").mkdir()
    (here / "link").symlink_to("real", target_is_directory=True)
    targets = [("a", Path("real/x.png")), ("b", Path("link/x.png"))]
    with pytest.raises(UsageError, match="would both be written"):
        check_targets(targets, protected=[], may_exist=True)


def test_a_side_by_side_picture_may_not_meet_another_result() -> None:
    first = Path("a_mair_x4.png")
    with pytest.raises(UsageError, match="would both be written"):
        check_targets([("a", first), ("a", companion(first)), ("b", companion(first))], protected=[], may_exist=True)


@pytest.mark.parametrize("way", ["same", "dotted", "symlink", "hardlink", "linked folder"])
def test_an_input_is_never_overwritten(here: Path, way: str) -> None:
    touch(here / "d/a.png")
    target = {"same": "d/a.png", "dotted": "d/../d/a.png", "linked folder": "l/a.png"}.get(way, "other.png")
    if way == "symlink":
        Path(target).symlink_to("d/a.png")
    elif way == "hardlink":
        os.link("d/a.png", target)
    elif way == "linked folder":
        Path("l").symlink_to("d", target_is_directory=True)
    with pytest.raises(UsageError, match=r"itself or linked to it"):
        check_targets([("b.png", Path(target))], protected=[Path("d/a.png")], may_exist=True)


def test_existing_results_are_refused_unless_taken_care_of(here: Path) -> None:
    touch(*(here / f"{letter}.png" for letter in "abcde"))
    targets = [(letter, Path(f"{letter}.png")) for letter in "abcde"]
    with pytest.raises(UsageError, match=r"a\.png, b\.png, c\.png and 2 more exist already: `overwrite`"):
        check_targets(targets, protected=[], may_exist=False)
    check_targets(targets, protected=[], may_exist=True)
    Path("dangling.png").symlink_to("nowhere.png")
    with pytest.raises(UsageError, match="exists already"):
        check_targets([("x", Path("dangling.png"))], protected=[], may_exist=False)


def test_places_that_cannot_be_written_to_are_found_before_any_work(here: Path) -> None:
    touch(here / "file.txt")
    (here / "folder.png").mkdir()
    with pytest.raises(UsageError, match="is not a folder"):
        check_targets([("a", Path("file.txt/new/a.png"))], protected=[], may_exist=True)
    with pytest.raises(UsageError, match="is a folder"):
        check_targets([("a", Path("folder.png"))], protected=[], may_exist=True)
    check_targets([("a", Path("new/deep/a.png"))], protected=[], may_exist=False)


def test_the_same_glob_again_leaves_its_own_results_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["a.png", "a_mair_x4.png", "a_mair_x4_compare.png", "b.jpg", "b_jpg_mair_s25.jpg", "c_mair_x2.png"]
    for name in names:
        Path(name).touch()
    for arguments in (["*"], names):
        found = collect(arguments, recursive=False, is_image=is_image_name)
        assert [source.name for source in found.sources] == ["a.png", "b.jpg", "c_mair_x2.png"]
        assert [path.name for path in found.results] == ["a_mair_x4.png", "a_mair_x4_compare.png", "b_jpg_mair_s25.jpg"]
    alone = collect(["a_mair_x4.png"], recursive=False, is_image=is_image_name)
    assert [source.name for source in alone.sources] == ["a_mair_x4.png"]


def test_a_folder_of_results_beside_its_origin_is_not_searched(tmp_path: Path) -> None:
    for name in ("trip/a.png", "trip_mair_x4/a.png", "lone_mair_x4/b.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    found = collect([str(tmp_path)], recursive=True, is_image=is_image_name)
    assert [source.within.as_posix() for source in found.sources] == ["lone_mair_x4/b.png", "trip/a.png"]
    assert found.results == (tmp_path / "trip_mair_x4",)
