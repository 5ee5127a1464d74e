"""Training images: what is found, read, paired, kept in a cache and taught by a teacher."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_runs import image_folder, mapping, run, settings, texture

from mair_cli.datasets.resize import matlab_bicubic
from mair_cli.errors import ImageError, TrainingError, UsageError
from mair_cli.images.io import read_rgb8
from mair_cli.training.images import TrainingSource, find_images, find_pairs, load_pairs, make_pair
from mair_cli.training.patches import PatchSource
from mair_cli.training.recipe import settings_from_mapping
from mair_cli.training.schedule import target_share
from mair_cli.training.sets import load_sets, split_sources


def test_images_are_found_in_depth_sorted_and_without_the_excluded(tmp_path: Path) -> None:
    image_folder(tmp_path / "b" / "deep", 1)
    image_folder(tmp_path / "a", 2)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    found = find_images([str(tmp_path)], ["1.*"])
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a/0.png", "b/deep/0.png"]
    assert find_images([str(tmp_path / "a" / "0.png")]) == [tmp_path / "a" / "0.png"]


def test_empty_and_missing_folders_are_errors_that_name_them(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"no images in .*empty"):
        find_images([str(tmp_path / "empty")])
    with pytest.raises(UsageError, match="nowhere"):
        find_images([str(tmp_path / "nowhere")])
    with pytest.raises(UsageError, match="leaving out"):
        find_images([str(image_folder(tmp_path / "full"))], ["*.png"])


def test_gray_alpha_and_deep_images_become_8_bit_rgb(tmp_path: Path) -> None:
    gray = texture(0)[:, :, 0]
    Image.fromarray(gray).save(tmp_path / "gray.png")
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(np.dstack([texture(1), gray])).save(tmp_path / "alpha.png")
    for name, expected in (("gray", gray), ("deep", gray)):
        np.testing.assert_array_equal(read_rgb8(tmp_path / f"{name}.png"), np.dstack([expected] * 3))
    np.testing.assert_array_equal(read_rgb8(tmp_path / "alpha.png"), texture(1))


def test_animations_and_damaged_files_are_refused_by_name(tmp_path: Path) -> None:
    frames = [Image.fromarray(texture(seed)) for seed in (0, 1)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match=r"film\.gif: it is an animation"):
        read_rgb8(tmp_path / "film.gif")
    (tmp_path / "torn.png").write_bytes((image_folder(tmp_path / "x", 1) / "0.png").read_bytes()[:200])
    with pytest.raises(ImageError, match=r"torn\.png"):
        read_rgb8(tmp_path / "torn.png")


def spoilt_folder(tmp_path: Path) -> Path:
    """Four good images, an animation, a torn file and one that is no image at all."""
    folder = image_folder(tmp_path / "images")
    film = [Image.fromarray(texture(seed)) for seed in (0, 1)]
    film[0].save(folder / "film.gif", save_all=True, append_images=film[1:])
    (folder / "torn.png").write_bytes((folder / "0.png").read_bytes()[:200])
    (folder / "page.jpg").write_text("<html>")
    return folder


@pytest.mark.parametrize("cached", [False, True])
def test_animations_and_damaged_files_are_named_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, cached: bool
) -> None:
    spoilt_folder(tmp_path)
    recipe = settings(tmp_path, data={"zoom": [1.0, 0.5], "cache": str(tmp_path / "cache") if cached else ""})
    names = [pair.name for pair in load_sets(recipe).training]
    assert sorted(set(names)) == [f"{i}.png" for i in range(4) if f"{i}.png" in names]
    assert len(names) >= 6
    for bad in ("film.gif", "torn.png", "page.jpg"):
        named = [record for record in caplog.messages if bad in record]
        held_out = bad not in {source.image.name for source in split_sources(recipe)[0]}
        assert len(named) == 1 or held_out


def test_a_strict_run_stops_at_the_first_of_them(tmp_path: Path) -> None:
    spoilt_folder(tmp_path)
    with pytest.raises((ImageError, TrainingError), match=r"film\.gif|torn\.png|page\.jpg"):
        load_sets(settings(tmp_path, data={"strict": True}))


def test_a_folder_of_nothing_but_damaged_files_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "page.jpg").write_text("<html>")
    with pytest.raises(TrainingError, match=r"none of 1 images can be used, such as .*page\.jpg"):
        load_sets(settings(tmp_path, validation={"holdout": 0}))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
def test_devices_pipes_and_standard_input_are_no_images(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (str(tmp_path / "pipe"), "/dev/zero", "/dev/null"):
        with pytest.raises(UsageError, match="neither a file nor a folder"):
            find_images([place])
    with pytest.raises(UsageError, match="no such file or folder"):
        find_images(["-"])
    folder = image_folder(tmp_path / "images", 1)
    os.mkfifo(folder / "pipe.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    assert [path.name for path in find_images([str(folder)])] == ["0.png"]


def test_sizes_without_pixels_are_those_of_the_images_and_no_cache_is_written(tmp_path: Path) -> None:
    recipe = settings(tmp_path, data={"cache": str(tmp_path / "cache"), "zoom": [1.0, 0.5]}, validation={"crop": 20})
    sizes, whole = load_sets(recipe, keep=False), load_sets(settings(tmp_path, data={"zoom": [1.0, 0.5]}))
    assert not (tmp_path / "cache").exists()
    assert [pair.high.shape for pair in sizes.training] == [pair.high.shape for pair in whole.training]
    assert [pair.low.shape for pair in sizes.training] == [pair.low.shape for pair in whole.training]
    assert sizes.validation[0].high.shape == (20, 20, 3)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_inputs_are_matlabs_bicubic_of_whole_multiples(scale: int) -> None:
    image = texture(5, 50, 59)
    pair = make_pair("x", image, scale)
    assert pair.high.shape == (50 // scale * scale, 59 // scale * scale, 3)
    expected = pair.high if scale == 1 else matlab_bicubic(pair.high, Fraction(1, scale))
    np.testing.assert_array_equal(pair.low, expected)


def test_cached_images_are_mapped_equal_and_used_again(tmp_path: Path) -> None:
    paths = [TrainingSource(path) for path in find_images([str(image_folder(tmp_path / "images"))])]
    plain = load_pairs(paths, 2, (1.0, 0.5))
    cache = tmp_path / "cache"
    for _ in range(2):
        cached = load_pairs(paths, 2, (1.0, 0.5), str(cache))
        for a, b in zip(plain, cached, strict=True):
            assert isinstance(b.high, np.memmap)
            np.testing.assert_array_equal(a.low, b.low)
            np.testing.assert_array_equal(a.high, b.high)
    assert len(list(cache.iterdir())) == 2 * len(plain)
    assert plain[1].high.shape[0] == plain[0].high.shape[0] // 2


def test_a_changed_image_is_decoded_anew(tmp_path: Path) -> None:
    path = image_folder(tmp_path / "images", 1) / "0.png"
    before = load_pairs([TrainingSource(path)], 2, cache=str(tmp_path / "cache"))[0].high.copy()
    Image.fromarray(255 - texture(0)).save(path)
    after = load_pairs([TrainingSource(path)], 2, cache=str(tmp_path / "cache"))[0].high
    np.testing.assert_array_equal(after, 255 - before)


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainingError, match="image cache"):
        load_pairs(
            [TrainingSource(image_folder(tmp_path / "x", 1) / "0.png")], 2, cache=str(tmp_path / "file" / "cache")
        )


def test_held_out_images_are_not_trained_on(tmp_path: Path) -> None:
    recipe = settings(tmp_path, validation={"holdout": 2, "crop": 16})
    training, measured = split_sources(recipe)
    assert (len(training), len(measured)) == (2, 2)
    assert not {source.image for source in training} & {source.image for source in measured}
    assert all(pair.high.shape == (16, 16, 3) for pair in load_sets(recipe).validation)
    with pytest.raises(UsageError, match="holdout"):
        split_sources(settings(tmp_path, validation={"holdout": 4}))


def test_several_inputs_go_with_the_target_named_by_their_first_part(tmp_path: Path) -> None:
    image_folder(tmp_path / "clear", 2)
    image_folder(tmp_path / "hazy", 1)
    for name in ("0_1_0.8", "1_0.8_0.2", "1_0.9_0.16"):
        (tmp_path / "hazy" / f"{name}.png").write_bytes((tmp_path / "clear" / "0.png").read_bytes())
    pairs = find_pairs([str(tmp_path / "hazy"), str(tmp_path / "clear")])
    assert [(pair.given.stem if pair.given else "", pair.image.stem) for pair in pairs] == [
        ("0", "0"),
        ("0_1_0.8", "0"),
        ("1_0.8_0.2", "1"),
        ("1_0.9_0.16", "1"),
    ]


def test_targets_of_a_teacher_are_used_in_the_asked_share(tmp_path: Path) -> None:
    images, outputs = image_folder(tmp_path / "images", 2), tmp_path / "teacher"
    outputs.mkdir()
    for path in images.iterdir():
        Image.new("RGB", (56, 48), (10, 20, 30)).save(outputs / path.name)
    recipe = settings(tmp_path, data={"images": [str(images)], "targets": [str(outputs)], "target_share": [1.0, 0.5]})
    pairs = load_sets(recipe).training
    source = PatchSource(pairs, 2, 0, None, 1, lambda step: target_share(recipe.data, recipe.training, step))
    taught = np.array([10, 20, 30], np.uint8)

    def share(step: int) -> float:
        high = source.batch(step, 8, 600).high.numpy()
        return float((high == taught[:, None, None]).all(axis=(1, 2, 3)).mean())

    assert share(0) == 1.0
    assert share(recipe.training.steps - 1) == pytest.approx(0.5, abs=0.06)


def test_a_teacher_must_know_every_image_at_its_size(tmp_path: Path) -> None:
    images, outputs = image_folder(tmp_path / "images", 2), tmp_path / "teacher"
    outputs.mkdir()
    Image.new("RGB", (56, 48)).save(outputs / "0.png")
    data = {"images": [str(images)], "targets": [str(outputs)]}
    validation = {"holdout": 0}
    with pytest.raises(UsageError, match=r"1 of 2 images, such as 1\.png"):
        load_sets(settings(tmp_path, data=data, validation=validation))
    Image.new("RGB", (50, 48)).save(outputs / "1.png")
    with pytest.raises(TrainingError, match=r"1\.png has 50x48 pixels; 56x48"):
        load_sets(settings(tmp_path, data=data, validation=validation))


@pytest.mark.parametrize("scale", [1, 2])
def test_given_pairs_are_matched_by_name_and_learnt_as_they_are(tmp_path: Path, scale: int) -> None:
    inputs, targets = tmp_path / "in", image_folder(tmp_path / "out", 3)
    inputs.mkdir()
    for path in targets.iterdir():
        with Image.open(path) as image:
            image.resize((56 // scale, 48 // scale)).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(
                inputs / f"{path.stem}.webp", lossless=True
            )
    network = {} if scale == 2 else {"upscale": 1, "upsampler": ""}
    recipe = mapping(tmp_path, network=network, data={"pairs": [str(inputs), str(targets)]})
    del recipe["data"]["images"]
    checked = settings_from_mapping(recipe | {"task": "sr" if scale == 2 else "denoise"})
    pairs = load_sets(checked).training
    for pair in pairs:
        np.testing.assert_array_equal(pair.high, read_rgb8(targets / pair.name))
        np.testing.assert_array_equal(pair.low, read_rgb8(inputs / f"{Path(pair.name).stem}.webp"))
    assert run(checked).finished
    (inputs / "0.webp").rename(inputs / "other.webp")
    with pytest.raises(UsageError, match=r"data\.pairs: 2 images have no partner"):
        load_sets(checked)
