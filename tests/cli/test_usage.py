"""Wrong usage in one line, help by any name, and what shells may complete."""

from __future__ import annotations

from pathlib import Path

import pytest
from calling import TINY_X4, files, mair, photo, settle
from typer.testing import CliRunner

from mair_cli.cli import completion
from mair_cli.cli.app import COMMANDS, build_app
from mair_cli.scan.dispatch import BACKENDS
from mair_cli.weights.catalog import MODELS


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(tmp_path, monkeypatch)
    photo("photo.png", 6, 5)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("photo.png",), "There is no command 'photo.png': did you mean `mair upscale photo.png`?"),
        (("upscal", "photo.png"), "did you mean `mair upscale`?"),
        (("shots",), "did you mean `mair upscale shots`?"),
        (("gone.jpg",), "did you mean `mair upscale gone.jpg`?"),
        (("x" * 5000,), "there are upscale, denoise"),
        (("frobnicate",), "there are upscale, denoise"),
        (("help", "frobnicate"), "there are upscale, denoise"),
        (
            ("upscale", "photo.png", "--scale", "0"),
            "--scale 0: give a number above 0 and at most 16, such as 2, 3, 4 or 1.5.",
        ),
        (
            ("upscale", "photo.png", "--scale", "2y"),
            "--scale 2y: give a number above 0 and at most 16, such as 2, 3, 4 or 1.5.",
        ),
        (("upscale", "photo.png", "--quality", "101"), "--quality: give 1-100"),
        (("upscale", "photo.png", "--threads", "many"), "--threads: give N"),
        (("upscale", "photo.png", "--sacle", "4"), "--scale"),
        (("upscale", "photo.png", "--tile"), "--tile"),
        (("upscale",), "`mair upscale --help`"),
        (("--nonsense",), "--nonsense"),
        (("upscale", "photo.png", "--tile", "8"), "--tile 8: give auto, 16 or more pixels, or 0"),
        (("upscale", "photo.png", "--tile", "-64"), "--tile -64"),
    ],
)
def test_every_usage_error_is_one_line_in_the_same_words(arguments: tuple[str, ...], says: str) -> None:
    Path("shots").mkdir()
    ran = mair(*arguments)
    assert ran.code == 2
    assert ran.out == b""
    (line,) = ran.err.splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert files() == {"photo.png"}


def test_the_word_auto_is_understood_in_capitals() -> None:
    assert mair("upscale", "photo.png", "--tile", "AUTO", "--jpeg", "OFF", *TINY_X4).code == 0
    assert "at least 24 pixels" in mair("denoise", "photo.png", "--sigma", "AUTO").err


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_the_version_by_both_its_flags(flag: str) -> None:
    ran = mair(flag)
    assert (ran.code, ran.text.split()[0]) == (0, "mair")


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_help_is_the_page_that_the_flag_shows(name: str) -> None:
    ran = mair("help", name)
    assert ran.code == 0
    assert ran.text == mair(name, "--help").text
    assert len(ran.text.splitlines()) > 5


def test_help_alone_lists_the_commands() -> None:
    assert mair("help").text == mair("--help").text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("upscale", "photo.png", "--quality", "80"), "--quality 80: PNG knows none"),
        (("upscale", "photo.png", "-o", "-", "--quality", "80", "--format", "png"), "--quality 80: PNG knows none"),
        (("upscale", "photo.png", "--tile", "0", "--overlap", "8"), "--overlap goes with tiles"),
        (("upscale", "photo.png", "-o", "-", "--overwrite"), "-o - writes none"),
        (("denoise", "photo.png", "--real", "--jpeg", "50"), "--jpeg and --real exclude each other"),
        (("dehaze", "photo.png", "--scene", "indoor", "--model", "mair-dh-ots"), "mair-dh-ots is made for dehazing"),
        (("dehaze", "photo.png", "--scene", "indoor", *TINY_X4), "--scene"),
        (("download", "--json"), "--json goes with --list"),
        (("download", "--list", "--from", "here"), "--from goes with fetching"),
        (("download", "mair-t-x4", "--verify", "--accept-changed"), "--accept-changed goes with fetching"),
        (("download", "--list", "-v", "-q"), "exclude each other"),
        (("benchmark", "-d", "s", "--scene", "indoor"), "--scene is for dehazing: super-resolution takes none"),
        (("benchmark", "-d", "s", "--html-images", "3"), "--html FILE"),
        (("benchmark", "-d", "s", "--overlap", "3"), "leave --overlap out"),
        (("benchmark", "-d", "s", "--task", "deblur", "--sigma", "25"), "--sigma"),
        (("benchmark", "-d", "s", "-v", "-q"), "exclude each other"),
        (("compare", "photo.png", "gone.png"), "gone.png: no such file"),
        (("compare", "photo.png", "."), "folder"),
    ],
)
def test_options_that_do_not_apply_are_refused(arguments: tuple[object, ...], says: str) -> None:
    ran = mair(*arguments)
    assert ran.code == 2
    assert says in " ".join(ran.err.split())
    assert files() == {"photo.png"}


def test_compare_and_upscale_end_alike() -> None:
    Path("broken.png").write_bytes(b"no image")
    for arguments, code in ((("gone.png",), 2), (("broken.png",), 1)):
        assert mair("upscale", *arguments, *TINY_X4).code == code
        assert mair("compare", "photo.png", *arguments).code == code


def test_folders_say_what_was_left_out_and_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("d/a.png", "d/sub/b.png", "d/other/c.png"):
        photo(name, 5, 4)
    for name in ("x.heic", "y.CR2", "z.jxl"):
        Path("d", name).write_bytes(b"some picture")
    monkeypatch.setattr("mair_cli.images.formats.importlib.util.find_spec", lambda name: None)
    ran = mair("upscale", "d", *TINY_X4)
    assert ran.code == 0
    lines = ran.err.splitlines()
    for name, kind, way in (
        ("x.heic", "HEIF", 'pip install "mair-cli[formats]"'),
        ("z.jxl", "JXL", 'pip install "mair-cli[formats]"'),
        ("y.CR2", "camera raw", "convert to PNG"),
    ):
        (foreign,) = [line for line in lines if name in line]
        assert kind in foreign
        assert way in foreign
    (subfolders,) = [line for line in lines if "--recursive" in line]
    assert "d/other" in subfolders
    assert "d/sub" in subfolders
    assert not [
        line for line in mair("upscale", "d", "-r", *TINY_X4, "--overwrite").err.splitlines() if "--rec" in line
    ]


def test_a_picture_of_a_format_to_come_fails_alone_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mair_cli.images.formats.importlib.util.find_spec", lambda name: None)
    Path("y.CR2").write_bytes(b"some picture")
    ran = mair("upscale", "y.CR2", "photo.png", *TINY_X4, "--skip-existing")
    assert ran.code == 1
    assert (
        'y.CR2: camera raw needs a plug-in: pip install "mair-cli[formats]", or convert to PNG, TIFF or JPEG first'
        in (ran.err)
    )
    Path("x.HEIC").write_bytes(b"some picture")
    ran = mair("upscale", "x.HEIC", "photo.png", *TINY_X4, "--skip-existing")
    assert ran.code == 1
    assert 'x.HEIC: HEIF needs a plug-in: pip install "mair-cli[formats]"' in ran.err
    assert "photo_mair_x4.png" in files()


def test_names_of_models_stay_in_one_piece_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    words = mair("download", "--list").text.split()
    assert set(MODELS) <= set(words)


def test_bundled_rows_tell_size_and_quality() -> None:
    rows = [line for line in mair("download", "--list").text.splitlines() if "mair-lite" in line]
    assert len(rows) == 6
    assert all(" M " in row and " dB" in row for row in rows)


def test_verbose_tells_tiles_memory_levels_and_times() -> None:
    photo("a.jpg", 40, 30)
    told = mair("upscale", "a.jpg", "-v").err
    assert "40×30 pixels, whole; the network takes some" in told
    assert "MiB are free" in told
    assert "told: JPEG" in told or "told: nothing" in told
    assert all(f"a.jpg: {step} in" in told for step in ("read", "restored", "written"))
    tiled = mair("upscale", "a.jpg", "-v", "--tile", 24, "--overwrite").err
    assert "in tiles of up to 24, overlap 12, 1 at a time" in tiled


def test_models_and_back_ends_are_completed() -> None:
    assert completion.models("mair-t-") == ["mair-t-x2", "mair-t-x3", "mair-t-x4"]
    assert completion.one_of("auto", *BACKENDS)("n") == ["numba"]
    environment = {
        "_MAIR_COMPLETE": "complete_bash",
        "COMP_WORDS": "mair upscale --model mair-lite-x",
        "COMP_CWORD": "3",
    }
    ran = CliRunner().invoke(build_app(), [], env=environment, prog_name="mair")
    assert ran.output.split() == ["mair-lite-x2", "mair-lite-x3", "mair-lite-x4"]


@pytest.mark.parametrize("words", ["--quality", "--overlap", "--max-pixels"])
def test_help_tells_the_defaults(words: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "commands.md").read_text("utf-8")
    row = next(line for line in page.splitlines() if line.startswith(f"| `{words}`"))
    assert "Default: " in row


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("could not create a primitive")])
def test_lack_of_memory_while_starting_is_no_defect(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.delenv("MAIR_DEBUG")
    monkeypatch.setattr("mair_cli.restore.restorer.load_network", fail)
    ran = mair("upscale", "photo.png", *TINY_X4)
    assert ran.code == 1
    assert ran.err.startswith("error: Memory ran out")
