"""The restoring commands from arguments to files: names, formats, refusals, reports, exit codes."""

from __future__ import annotations

import inspect
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from calling import REFERENCE, TINY_X4, drawing, files, mair, photo
from PIL import Image

from mair_cli.cli.benchmark import benchmark
from mair_cli.cli.restore_commands import restore_command
from mair_cli.cli.serve import serve
from mair_cli.errors import ImageError
from mair_cli.measure.metrics import psnr, ssim
from mair_cli.networks import build_network
from mair_cli.networks.settings import config_from_mapping
from mair_cli.weights.checkpoint import save_checkpoint
from mair_cli.weights.safetensors_file import read_metadata

pytestmark = pytest.mark.usefixtures("settled")


def read_config(path: Path) -> dict[str, object]:
    """Settings of a reference network."""
    config: dict[str, object] = json.loads(read_metadata(path)["config"])
    return config


def size(path: str) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


# ------------------------------------------------------------------------------------------ inputs and outputs


def test_one_photograph_with_bundled_weights_offline() -> None:
    photo("photo.png")
    ran = mair("upscale", "photo.png")
    assert (ran.code, ran.out) == (0, b"")
    assert files() == {"photo.png", "photo_mair_x4.png"}
    assert size("photo_mair_x4.png") == (64, 48)
    first = ran.err.splitlines()[0]
    assert all(word in first for word in ("mair-lite-x4", "bundled", "back end", "CPU"))
    # It must look like the photograph: reduced again, it is nearly the same.
    small = np.asarray(Image.open("photo_mair_x4.png").resize((16, 12), Image.Resampling.BOX))
    assert psnr(small, np.asarray(Image.open("photo.png"))) > 25


def test_folders_are_mirrored_and_globs_expanded() -> None:
    for name in ("shots/a.png", "shots/sub/b.jpg", "g1.png", "g2.png"):
        photo(name, 5, 4)
    Path("shots/readme.txt").write_text("no image")
    assert mair("upscale", "-r", "shots", "g*.png", *TINY_X4).code == 0
    assert files() == {
        *("shots/a.png", "shots/sub/b.jpg", "shots/readme.txt", "g1.png", "g2.png"),
        *("shots_mair_x4/a.png", "shots_mair_x4/sub/b.jpg", "g1_mair_x4.png", "g2_mair_x4.png"),
    }


def test_output_names_a_file_for_one_input_and_a_folder_for_several() -> None:
    photo("a.png", 5, 4)
    photo("b.png", 5, 4)
    assert mair("upscale", "a.png", "-o", "new/big.webp", *TINY_X4).code == 0
    assert mair("upscale", "a.png", "b.png", "-o", "out", *TINY_X4).code == 0
    assert files() == {"a.png", "b.png", "new/big.webp", "out/a_mair_x4.png", "out/b_mair_x4.png"}
    assert Image.open("new/big.webp").format == "WEBP"


def test_an_image_passes_through_standard_streams() -> None:
    buffer = io.BytesIO()
    drawing(6, 5).save(buffer, "JPEG")
    ran = mair("upscale", "-", "-o", "-", *TINY_X4, stdin=buffer.getvalue())
    assert ran.code == 0
    result = Image.open(io.BytesIO(ran.out))
    assert (result.format, result.size) == ("JPEG", (24, 20))
    assert files() == set()


def test_a_broken_image_on_standard_input_leaves_standard_output_empty() -> None:
    ran = mair("upscale", "-", "-o", "-", *TINY_X4, stdin=b"no image at all")
    assert (ran.code, ran.out) == (1, b"")
    assert "standard input" in ran.err


@pytest.mark.parametrize(
    ("source", "options", "expected"),
    [
        ("a.png", (), "a_mair_x4.png"),
        ("a.jpg", (), "a_mair_x4.jpg"),
        ("a.JPEG", (), "a_mair_x4.JPEG"),
        ("a.bmp", (), "a_mair_x4.png"),
        ("a.tif", (), "a_mair_x4.png"),
        ("a.png", ("--format", "webp"), "a_mair_x4.webp"),
        ("a.png", ("--format", "JPG", "--quality", "30"), "a_mair_x4.jpg"),
    ],
)
def test_the_format_follows_the_rule(source: str, options: tuple[str, ...], expected: str) -> None:
    photo(source, 6, 5)
    assert mair("upscale", source, *options, *TINY_X4).code == 0
    assert files() == {source, expected}


def test_quality_makes_a_difference() -> None:
    photo("a.jpg")
    for quality in (20, 95):
        assert mair("upscale", "a.jpg", "-o", f"{quality}.jpg", "--quality", quality, *TINY_X4).code == 0
    assert Path("20.jpg").stat().st_size < Path("95.jpg").stat().st_size


def test_inputs_that_differ_by_extension_get_results_of_their_own() -> None:
    photo("a/x.jpg", 5, 4)
    photo("a/x.png", 6, 4)
    assert mair("upscale", "a", "--format", "png", *TINY_X4).code == 0
    assert {name: size(name) for name in files() if "mair" in name} == {
        "a_mair_x4/x_jpg.png": (20, 16),
        "a_mair_x4/x_png.png": (24, 16),
    }


def test_all_frames_of_an_animation_are_restored() -> None:
    frames = [drawing(6, 5).rotate(90 * turn) for turn in range(3)]
    frames[0].save("moving.gif", save_all=True, append_images=frames[1:], duration=80, loop=0)
    ran = mair("upscale", "moving.gif", "--json", *TINY_X4)
    assert ran.code == 0
    (record,) = ran.records
    assert record["frames"] == 3
    with Image.open(record["output"]) as result:
        assert (getattr(result, "n_frames", 1), result.size) == (3, (24, 20))


@pytest.mark.parametrize(("choice", "mode"), [("model", "RGBA"), ("resize", "RGBA"), ("drop", "RGB")])
def test_alpha_is_treated_as_asked(choice: str, mode: str) -> None:
    photo("a.png", 8, 6, "RGBA")
    assert mair("upscale", "a.png", "--alpha", choice).code == 0
    result = Image.open("a_mair_x4.png")
    assert (result.mode, result.size) == (mode, (32, 24))
    if mode == "RGBA":
        enlarged = np.asarray(drawing(8, 6, "RGBA").getchannel("A").resize((32, 24), Image.Resampling.BICUBIC))
        assert psnr(np.asarray(result.getchannel("A")), enlarged) > 25


def test_gray_stays_gray() -> None:
    photo("a.png", 8, 6, "L")
    assert mair("upscale", "a.png").code == 0
    assert Image.open("a_mair_x4.png").mode == "L"


# ------------------------------------------------------------------------------------------ refusals


def test_existing_results_are_refused_before_any_work() -> None:
    photo("a.png", 5, 4)
    photo("b.png", 5, 4)
    Path("b_mair_x4.png").write_text("precious")
    ran = mair("upscale", "a.png", "b.png", *TINY_X4)
    assert ran.code == 2
    assert "b_mair_x4.png exists" in ran.err
    assert files() == {"a.png", "b.png", "b_mair_x4.png"}
    assert mair("upscale", "a.png", "b.png", "--skip-existing", *TINY_X4).code == 0
    assert Path("b_mair_x4.png").read_text() == "precious"
    assert mair("upscale", "a.png", "b.png", "--overwrite", *TINY_X4).code == 0
    assert size("b_mair_x4.png") == (20, 16)


@pytest.mark.parametrize("way", ["itself", "symlink", "hardlink"])
def test_an_input_survives_even_overwrite(way: str) -> None:
    original = photo("a.png", 5, 4).read_bytes()
    target = "a.png" if way == "itself" else "b.png"
    if way == "symlink":
        Path(target).symlink_to("a.png")
    elif way == "hardlink":
        os.link("a.png", target)
    ran = mair("upscale", "a.png", "-o", target, "--overwrite", *TINY_X4)
    assert ran.code == 2
    assert Path("a.png").read_bytes() == original
    assert Path(target).read_bytes() == original


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("upscale", "gone.png"), "gone.png: no such file"),
        (("upscale", "a.png", "--scale", "17"), "--scale 17"),
        (("upscale", "a.png", "--scale", "2", "--model", "mair-lite-x4"), "contradict"),
        (("upscale", "a.png", "--model", "mair-lite-x5"), "mair-lite-x"),
        (("upscale", "a.png", "--model", "mair-cdn-s25"), "Gaussian denoising"),
        (("upscale", "a.png", "--model", "mair-t-x4", "--weights", "w.pth"), "exclude each other"),
        (("upscale", "a.png", "--weights", "gone.pth"), "gone.pth"),
        (("upscale", "a.png", "--stripe", "4"), "--weights"),
        (("upscale", "a.png", "--model", "mair-t-x4"), "mair download mair-t-x4"),
        (("upscale", "a.png", "--format", "docx"), "docx"),
        (("upscale", "a.png", "-o", "b.jpg", "--format", "png"), "contradict"),
        (("upscale", "a.png", "-o", "b"), "end it with / for a folder"),
        (("upscale", "a.png", "b.png", "-o", "c.png"), "folder"),
        (("upscale", "a.png", "b.png", "-o", "-"), "single image"),
        (("upscale", "a.png", "-o", "-", "--json"), "standard output"),
        (("upscale", "a.png", "-o", "-", "--compare"), "--compare"),
        (("upscale", "a.png", "--overwrite", "--skip-existing"), "exclude each other"),
        (("upscale", "a.png", "-v", "-q"), "exclude each other"),
        (("upscale", "a.png", "--tile", "big"), "--tile big"),
        (("upscale", "a.png", "--tile", "16", "--overlap", "12"), "--overlap 12"),
        (("upscale", "a.png", "--alpha", "keep"), "--alpha keep"),
        (("upscale", "a.png", "--precision", "fp8"), "--precision fp8"),
        (("upscale", "a.png", "--device", "tpu"), "--device tpu"),
        (("upscale", "a.png", "--backend", "fast"), "fast"),
        (("upscale", "a.png", "--quality", "101"), "--quality"),
        (("upscale", "a.png", "--gt", "nowhere"), "--gt nowhere"),
        (("upscale", "-"), "--output"),
        (("upscale",), "INPUT"),
        (("upscale", "a.png", "--sacle", "4"), "--scale"),
        (("denoise", "a.png", "--sigma", "25", "--real"), "exclude each other"),
        (("denoise", "a.png", "--sigma", "75.5"), "--sigma 75.5"),
        (("denoise", "a.png", "--sigma", "25", "--jpeg", "101"), "--jpeg 101"),
        (("upscale", "a.png", "--jpeg", "on"), "--jpeg on"),
        (("denoise", "a.png", "--sigma", "75.1"), "--sigma 75.1"),
        (("denoise", "a.png", "--sigma", "nan"), "--sigma nan"),
        (("denoise", "a.png", "--real"), "mair download mair-realdn"),
        (("dehaze", "a.png", "--scene", "lunar"), "indoor"),
    ],
)
def test_wrong_usage_is_refused_with_the_way_out(arguments: tuple[str, ...], says: str) -> None:
    photo("a.png", 5, 4)
    photo("b.png", 5, 4)
    ran = mair(*arguments)
    assert ran.code == 2
    assert says in " ".join(ran.err.split())
    assert ran.out == b""
    assert "Traceback" not in ran.err
    assert files() == {"a.png", "b.png"}


def test_large_outputs_are_refused_by_name_and_the_others_done() -> None:
    photo("large.png", 40, 40)
    photo("small.png", 5, 4)
    ran = mair("upscale", "large.png", "small.png", "--max-pixels", 1000, *TINY_X4)
    assert ran.code == 1
    assert "large.png" in ran.err
    assert files() == {"large.png", "small.png", "small_mair_x4.png"}


# ------------------------------------------------------------------------------------------ failures of single images


def test_bad_files_are_named_and_the_others_done() -> None:
    good = photo("d/good.png", 5, 4).read_bytes()
    Path("d/empty.png").touch()
    Path("d/text.jpg").write_text("no image")
    Path("d/cut.png").write_bytes(good[: len(good) // 2])
    ran = mair("upscale", "d", "gone.png", "--json", *TINY_X4)
    assert ran.code == 1
    assert files() == {"d/good.png", "d/empty.png", "d/text.jpg", "d/cut.png", "d_mair_x4/good.png"}
    outcome = {record["input"]: record["status"] for record in ran.records}
    assert outcome.pop("d/good.png") == "done"
    assert outcome == dict.fromkeys(("d/cut.png", "d/empty.png", "d/text.jpg", "gone.png"), "failed")
    for name in outcome:
        assert any(name in line for line in ran.err.splitlines())
    assert "Traceback" not in ran.err


def test_control_characters_of_a_file_name_do_not_reach_the_terminal() -> None:
    name = "a\x1b[31m\nb.png"
    Path(name).write_text("no image")
    photo("c.png", 5, 4)
    ran = mair("upscale", name, "c.png", *TINY_X4)
    assert ran.code == 1
    assert "\x1b[31m" not in ran.err


# ------------------------------------------------------------------------------------------ reports


def test_json_is_one_object_per_image_and_nothing_else() -> None:
    photo("a.png", 6, 5)
    photo("b.png", 5, 4)
    Path("b_mair_x4.png").touch()
    ran = mair("upscale", "a.png", "b.png", "--skip-existing", "--json")
    assert ran.code == 0
    records = {record["input"]: record for record in ran.records}
    assert records["b.png"]["status"] == "skipped"
    done = records["a.png"]
    assert done["output"] == "a_mair_x4.png"
    assert [done[f"{side}_{edge}"] for side in ("input", "output") for edge in ("width", "height")] == [6, 5, 24, 20]
    assert (done["model"], done["device"], done["status"]) == ("mair-lite-x4", "cpu", "done")
    assert done["backend"] in ("numba", "reference")
    assert done["precision"] in ("fp32", "bf16")
    assert done["seconds"] > 0


def test_quiet_says_nothing() -> None:
    photo("a.png", 5, 4)
    ran = mair("upscale", "a.png", "-q", *TINY_X4)
    assert (ran.code, ran.out, ran.err) == (0, b"", "")


def test_a_dry_run_writes_nothing_and_says_what_it_would() -> None:
    photo("a.png", 5, 4)
    ran = mair("upscale", "a.png", "--dry-run")
    assert ran.code == 0
    assert ran.text == "a.png → a_mair_x4.png\n"
    assert "mair-lite-x4" in ran.err
    assert [record["output"] for record in mair("upscale", "a.png", "--dry-run", "--json").records] == ["a_mair_x4.png"]
    assert files() == {"a.png"}


def test_figures_against_ground_truth_are_those_of_the_papers() -> None:
    for name, width in (("a.png", 16), ("b.png", 20)):
        photo(f"low/{name}", width, 12)
        photo(f"high/{name}", width * 4 + 3, 49)  # too large by less than the scale: cropped, as published
    ran = mair("upscale", "low", "--gt", "high", "--json")
    assert ran.code == 0
    for record in ran.records:
        result = np.asarray(Image.open(record["output"]))
        truth = np.asarray(Image.open(record["gt"]))[: result.shape[0], : result.shape[1]]
        assert record["psnr"] == record["psnr_y"] == pytest.approx(psnr(result, truth, 4, y_channel=True))
        assert record["ssim"] == record["ssim_y"] == pytest.approx(ssim(result, truth, 4, y_channel=True))
        assert record["psnr_rgb"] == pytest.approx(psnr(result, truth, 4))
    mean = np.mean([record["psnr_y"] for record in ran.records])
    assert f"mean of 2: Y {mean:.2f} dB" in ran.err
    spoken = mair("upscale", "low", "--gt", "high", "--overwrite", "-q")
    assert f"mean of 2: Y {mean:.2f} dB" in spoken.text


def test_ground_truth_that_does_not_fit_is_an_error_of_that_image_before_the_work() -> None:
    for name in ("a", "b"):
        photo(f"low/{name}.png", 8, 6)
    photo("high/a.png", 32, 24)
    photo("high/b.png", 36, 24)
    ran = mair("upscale", "low", "--gt", "high", *TINY_X4)
    assert ran.code == 1
    assert "32x24" in ran.err
    assert "36x24" in ran.err
    assert "low_mair_x4/b.png" not in files()
    Path("high/b.png").unlink()
    assert "named like low/b.png" in mair("upscale", "low", "--gt", "high", "--overwrite", *TINY_X4).err


def test_compare_writes_a_picture_of_both() -> None:
    photo("a.png", 16, 12)
    photo("truth.png", 64, 48)
    assert mair("upscale", "a.png", "--compare").code == 0
    assert files() == {"a.png", "truth.png", "a_mair_x4.png", "a_mair_x4_compare.png"}
    two = size("a_mair_x4_compare.png")
    assert two[0] > 2 * 64
    assert mair("upscale", "a.png", "--compare", "--overwrite", "--gt", "truth.png").code == 0
    assert size("a_mair_x4_compare.png")[0] > two[0]


# ------------------------------------------------------------------------------------------ other settings


def test_ensemble_and_tiles_change_little_and_run() -> None:
    photo("a.png", 40, 24)
    results = []
    for name, options in (
        ("plain", ("--tile", 0)),
        ("tiled", ("--tile", 24, "--overlap", 8)),
        ("ens", ("--ensemble",)),
    ):
        assert mair("upscale", "a.png", "-o", f"{name}.png", *options).code == 0
        results.append(np.asarray(Image.open(f"{name}.png")))
    assert not np.array_equal(results[0], results[1])
    assert psnr(results[0], results[1]) > 40
    assert psnr(results[0], results[2]) > 30


def test_denoising_is_told_or_estimates_the_noise_level() -> None:
    config = config_from_mapping({**read_config(REFERENCE / "denoise.io.safetensors"), "noise_level_map": True})
    save_checkpoint("told.safetensors", build_network(config).state_dict(), config, {})
    photo("a.png", 40, 30)
    assert mair("denoise", "a.png", "--sigma", "12.5", "--weights", "told.safetensors").code == 0
    ran = mair("denoise", "a.png", "--sigma", "auto", "--weights", "told.safetensors", "--json")
    assert ran.code == 0
    (record,) = ran.records
    assert 0 < record["sigma"] < 5  # the drawing is clean
    assert {"a_mair_s12.5.png", "a_mair_denoised.png"} < files()
    assert size("a_mair_s12.5.png") == (40, 30)


def test_restoring_is_told_auto_and_measuring_float32() -> None:
    commands = {"upscale": restore_command("upscale"), "serve": serve, "benchmark": benchmark}
    defaults = {name: inspect.signature(made).parameters["precision"].default for name, made in commands.items()}
    assert defaults == {"upscale": "auto", "serve": "auto", "benchmark": "fp32"}


def test_every_back_end_that_works_here_gives_the_same_picture() -> None:
    photo("a.png", 8, 6)
    for backend in ("numba", "reference"):
        assert mair("upscale", "a.png", "-o", f"{backend}.png", "--backend", backend).code == 0
    first, second = (np.asarray(Image.open(f"{name}.png")).astype(int) for name in ("numba", "reference"))
    assert np.abs(first - second).max() <= 1


def test_a_batch_goes_on_past_a_name_too_long_and_over_its_own_results() -> None:
    long = photo("n" * 248 + ".png")
    photo("a.png")
    first = mair("upscale", "*.png", "--scale", 2)
    assert first.code == 1
    assert long.name in first.err
    assert Path("a_mair_x2.png").exists()
    again = mair("upscale", "*.png", "--scale", 2, "--skip-existing")
    assert "left out, being results of earlier runs" in again.err
    assert [path.name for path in Path().glob("*_mair_*")] == ["a_mair_x2.png"]


def test_a_dry_run_tells_for_each_file_what_the_network_would_be_told() -> None:
    for name, quality in (("a.jpg", 40), ("b.jpg", 90)):
        drawing(40, 30).save(name, quality=quality)
    photo("c.png", 40, 30)
    config = config_from_mapping(
        {**read_config(REFERENCE / "denoise.io.safetensors"), "noise_level_map": True, "jpeg_level_map": True}
    )
    save_checkpoint("told.safetensors", build_network(config).state_dict(), config, {})
    command = ("denoise", "a.jpg", "b.jpg", "c.png", "--weights", "told.safetensors", "--dry-run", "--sigma")
    assert mair(*command, "auto").text.splitlines() == [
        "a.jpg → a_mair_denoised.jpg (σ by the image, JPEG 40 (file))",
        "b.jpg → b_mair_denoised.jpg (σ by the image, JPEG 90 (file))",
        "c.png → c_mair_denoised.png (σ by the image)",
    ]
    assert mair(*command, "5", "--jpeg", "60").text.splitlines()[1:] == [
        "b.jpg → b_mair_s5.jpg (σ 5.0 (told), JPEG 60 (told))",
        "c.png → c_mair_s5.png (σ 5.0 (told), JPEG 60 (told))",
    ]
    first = mair(*command, "auto", "--json").records[0]
    assert (first["jpeg"], first["jpeg_origin"], first["sigma"]) == (40, "file", None)
    assert "told.safetensors" in files()
    assert not [name for name in files() if "_mair_" in name]


def test_a_dry_run_finds_files_that_are_no_images() -> None:
    photo("a.png")
    Path("b.png").write_text("no image")
    ran = mair("upscale", "a.png", "b.png", "--dry-run", *TINY_X4)
    assert ran.code == 1
    assert ran.text == "a.png → a_mair_x4.png\n"
    assert "b.png" in ran.err


def test_a_truncated_file_is_restored_and_told_by_the_exit_code_unless_allowed() -> None:
    path = photo("a.png", 60, 60)
    path.write_bytes(path.read_bytes()[:-30])
    first = mair("upscale", path, "--scale", 2)
    assert (first.code, Path("a_mair_x2.png").exists()) == (1, True)
    assert "a.png" in first.err
    assert mair("upscale", path, "--scale", 2, "--overwrite", "--allow-truncated").code == 0


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), MemoryError(), ImageError("a.png: odd")])
def test_where_an_error_of_one_image_came_from_is_shown_on_demand(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    photo("a.png", 5, 4)
    monkeypatch.setattr("mair_cli.jobs.batch.read_picture", fail)
    plain, full = mair("upscale", "a.png", *TINY_X4), mair("upscale", "a.png", "-vv", *TINY_X4)
    assert plain.code == full.code == 1
    assert "a.png" in plain.err.splitlines()[-1]
    assert "Traceback" not in plain.err
    assert "Traceback" in full.err
    assert "in fail" in full.err
