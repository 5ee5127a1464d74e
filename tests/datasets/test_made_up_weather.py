"""Motion blur and haze that are made for training: what they are by physics, and pairs that a recipe takes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from mair_cli.datasets.haze import Haze, add_haze, along_outlines, made_up_depth, random_haze
from mair_cli.datasets.motion_blur import (
    GAMMA,
    CameraPath,
    MovingObject,
    blur,
    random_outline,
    random_path,
    with_object,
)
from mair_cli.measure.metrics import psnr
from mair_cli.training.recipe import read_settings
from mair_cli.training.sets import split_sources

RECIPES = Path(__file__).parents[2] / "recipes"


def photograph(height: int = 60, width: int = 80, seed: int = 0) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    planes = [128 + 100 * np.sin(x / (3 + c) + seed) * np.cos(y / (4 + c)) for c in range(3)]
    return np.stack(planes, axis=-1).astype(np.uint8)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_camera_at_rest_changes_nothing() -> None:
    still = CameraPath(np.zeros((5, 2)), np.zeros(5))
    np.testing.assert_array_equal(blur(photograph(), still), photograph())


def test_motion_moves_light_and_keeps_its_sum() -> None:
    """A point becomes a line of the path's length, as bright in all once the tone curve is taken off."""
    image = np.zeros((41, 41, 3), np.uint8)
    image[20, 20] = 255
    across = np.stack([np.zeros(9), np.arange(-4.0, 5)], axis=1)
    blurred = blur(image, CameraPath(across, np.zeros(9)))
    light = (blurred[:, :, 0] / 255) ** GAMMA
    assert set(zip(*np.nonzero(blurred[:, :, 0] > 20), strict=True)) == {(20, column) for column in range(16, 25)}
    assert light.sum() == pytest.approx(1, abs=0.05)


def test_a_turn_blurs_the_border_more_than_the_middle() -> None:
    turned = CameraPath(np.zeros((31, 2)), np.linspace(-0.05, 0.05, 31))
    image = rng().integers(0, 256, (101, 101, 3), dtype=np.uint8)
    difference = np.abs(blur(image, turned).astype(int) - image)
    assert difference[46:55, 46:55].mean() < 0.5 * difference[:9, :9].mean()


def test_blur_leaves_the_centre_of_light_where_it_was() -> None:
    point = np.zeros((81, 81, 3), np.uint8)
    point[38:43, 38:43] = 255
    for seed in range(5):
        light = (blur(point, random_path(rng(seed), 16.0, 0.0, 0.1))[:, :, 0] / 255) ** GAMMA
        rows, columns = np.indices(light.shape)
        assert (light * rows).sum() / light.sum() == pytest.approx(40, abs=0.25)
        assert (light * columns).sum() / light.sum() == pytest.approx(40, abs=0.25)


def test_a_path_has_the_asked_for_extent_and_its_mean_at_rest() -> None:
    for seed in range(5):
        path = random_path(rng(seed), 12.0, 0.01, 0.3)
        assert np.ptp(path.shift, axis=0).max() == pytest.approx(12)
        assert np.ptp(path.angle) == pytest.approx(0.01)
        assert path.shift.mean(axis=0) == pytest.approx([0, 0], abs=1e-9)
        assert path.angle.mean() == pytest.approx(0, abs=1e-9)
    paths = [random_path(rng(seed), 12.0, 0.01, 0.3).shift for seed in (0, 0, 1)]
    assert np.array_equal(paths[0], paths[1])
    assert not np.array_equal(paths[0], paths[2])


def test_inertia_makes_a_path_straight() -> None:
    def detour(inertia: float) -> float:
        """Length of the path over the distance between its outermost points, on the average."""
        paths = [random_path(rng(seed), 12.0, 0.0, inertia).shift for seed in range(40)]
        lengths = [np.hypot(*np.diff(path, axis=0).T).sum() for path in paths]
        return float(np.mean(lengths) / 12)

    assert detour(0.02) > detour(0.1) > detour(0.5) > detour(3.0)
    assert detour(100.0) < np.sqrt(2) * 1.02


def along(columns: float, count: int = 21) -> CameraPath:
    """From left to right, so many columns."""
    return CameraPath(
        np.stack([np.zeros(count), np.linspace(-columns / 2, columns / 2, count)], axis=1), np.zeros(count)
    )


def test_only_the_moving_thing_is_blurred_before_a_camera_at_rest() -> None:
    scene, thing = photograph(), photograph(seed=5)
    cover = np.zeros(scene.shape[:2], np.float32)
    cover[20:40, 30:50] = 1
    moving = MovingObject(thing, cover, along(8))
    blurred, clear = blur(scene, along(0), moving), with_object(scene, moving)
    np.testing.assert_array_equal(clear[:, :30], scene[:, :30])
    np.testing.assert_array_equal(clear[20:40, 30:50], thing[20:40, 30:50])
    np.testing.assert_array_equal(blurred[:, :25], scene[:, :25])
    np.testing.assert_allclose(blurred[22:38, 36:44], blur(thing, along(8))[22:38, 36:44], atol=1)
    edge = blurred[30, 26:34].astype(int) - np.minimum(scene[30, 26:34], thing[30, 26:34])
    assert (edge >= -1).all()  # light of both, in turn


def test_a_thing_that_goes_with_the_scene_is_part_of_it() -> None:
    scene, path = photograph(), random_path(rng(), 6.0, 0.01, 0.5)
    whole = MovingObject(scene, random_outline(rng(), 60, 80, 0.4), path)
    difference = np.abs(blur(scene, path, whole).astype(int) - blur(scene, path))
    assert difference.mean() < 1


@pytest.mark.parametrize("share", [0.1, 0.3, 0.7])
def test_a_thing_covers_its_share_with_a_soft_outline(share: float) -> None:
    for seed in range(5):
        cover = random_outline(rng(seed), 90, 120, share)
        assert cover.mean() == pytest.approx(share, abs=0.03)
        assert (cover.min(), cover.max()) == pytest.approx((0, 1), abs=0.1)


def test_depth_along_outlines_jumps_where_the_image_does_and_nowhere_else() -> None:
    image = np.full((80, 100, 3), 40, np.uint8)
    image[:, 50:] = 200
    depth = made_up_depth(rng(), 80, 100)
    guided = along_outlines(depth, image, 0.5)
    assert (guided.min(), guided.max()) == (0, 1)
    jumps = np.abs(np.diff(guided, axis=1)).mean(axis=0)
    assert jumps[49] > 5 * np.delete(jumps, 49).max()
    flat = along_outlines(depth, np.full_like(image, 90), 0.5)
    assert np.abs(np.diff(flat, axis=1)).max() < 0.05


def test_haze_is_the_scattering_model() -> None:
    image, airlight = photograph(), np.array([0.9, 0.8, 1.0], np.float32)
    depth = np.full(image.shape[:2], 0.4, np.float32)
    t = np.exp(-1.5 * 0.5)
    expected = image * t + airlight * 255 * (1 - t)
    np.testing.assert_allclose(add_haze(image, depth, Haze(1.5, airlight)), expected, atol=0.51)


def test_depth_is_smooth_and_haze_from_thin_to_dense() -> None:
    for seed in range(5):
        depth = made_up_depth(rng(seed), 90, 120)
        assert (depth.min(), depth.max()) == (0, 1)
        assert max(np.abs(np.diff(depth, axis=axis)).max() for axis in (0, 1)) < 0.1
    densities = [random_haze(rng(seed)).density for seed in range(50)]
    assert 0.6 <= min(densities) < 0.8
    assert 1.8 < max(densities) <= 2.0


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("synthetic_pairs", RECIPES / "synthetic_pairs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("kind", "task"), [("blur", "deblur"), ("haze", "dehaze")])
def test_pairs_are_made_once_and_taken_by_the_recipe(
    kind: str, task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for number in range(10):
        Image.fromarray(photograph(seed=number)).save(f"photos/a_{number}.png")
    main = script().main
    assert main([kind, "photos", "--output", f"data/{kind}", "--copies", "3"]) == 0
    made = {path: path.read_bytes() for path in Path("data").rglob("*.png")}
    assert main([kind, "photos", "--output", f"data/{kind}", "--copies", "3"]) == 0
    assert {path: path.read_bytes() for path in Path("data").rglob("*.png")} == made
    training, measured = split_sources(read_settings(RECIPES / f"mair-lite-{task}.toml"))
    assert (len(training), len(measured)) == (27, 3)
    for source in training + measured:
        assert source.given is not None
        given, target = (np.asarray(Image.open(path)) for path in (source.given, source.image))
        assert target.shape == (30, 40, 3)
        assert 5 < psnr(given, target) < 55


@pytest.mark.parametrize("kind", ["blur", "haze"])
def test_plain_pairs_to_measure_by_are_those_that_are_held_out(kind: str, tmp_path: Path) -> None:
    photographs = tmp_path / "photos"
    photographs.mkdir()
    for number in range(10):
        Image.fromarray(photograph(40 + 2 * number, 60, seed=number)).save(photographs / f"{number}.png")
    main = script().main
    assert main([kind, str(photographs), "--output", str(tmp_path / "varied")]) == 0
    assert main([kind, str(photographs), "--output", str(tmp_path / "plain"), "--plain"]) == 0
    held_out = sorted((tmp_path / "varied" / "validation").rglob("*.png"))
    assert len(held_out) == 3
    for path in held_out:
        plain = tmp_path / "plain" / path.relative_to(tmp_path / "varied" / "validation")
        assert path.read_bytes() == plain.read_bytes()
    assert len(list((tmp_path / "plain").rglob("*.png"))) == 30


def test_photographs_of_all_sizes_cross_each_other(tmp_path: Path) -> None:
    module = script()
    for number, size in enumerate([(20, 90), (90, 20), (31, 33)]):
        Image.fromarray(photograph(*size)).save(tmp_path / f"{number}.png")
    maker = module.Maker("blur", sorted(tmp_path.iterdir()), tmp_path / "out", 1, 1, 0, plain=False)
    assert {maker._another((40, 50, 3), rng(seed)).shape for seed in range(9)} == {(40, 50, 3)}


def test_of_what_photographs_go_through_a_share_stays_untouched() -> None:
    module, image = script(), photograph()
    worn = [module.worn(image, rng(seed)) for seed in range(200)]
    untouched = sum(np.array_equal(each, image) for each in worn) / len(worn)
    assert untouched == pytest.approx(0.8 * 0.65, abs=0.1)
    assert min(psnr(each, image) for each in worn) > 25


def test_a_missing_folder_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert script().main(["blur", "no-such-folder", "--output", "out"]) == 2
    assert "no-such-folder" in capsys.readouterr().err
