"""Recipes: what is read from TOML, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tiny_runs import mapping, settings

from mair_cli.errors import UsageError
from mair_cli.training.recipe import parse_value, read_settings, settings_from_mapping

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize("path", sorted(RECIPES.rglob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_of_the_repository_is_valid_and_named_like_its_file(path: Path) -> None:
    recipe = read_settings(path)
    assert recipe.name == path.stem
    assert "/work" not in path.read_text("utf-8")


def test_settings_survive_being_written_and_read(tmp_path: Path) -> None:
    recipe = settings(tmp_path, training={"stages": [[0.0, 8, 4], [0.5, 12, 2]]}, data={"zoom": [1.0, 0.5]})
    assert settings_from_mapping(recipe.to_mapping()) == recipe


@pytest.mark.parametrize(
    ("section", "values", "named"),
    [
        ("data", {"pach": 8}, "'pach'; did you mean 'patch'"),
        ("training", {"momentum": 1}, "'momentum'"),
        ("validation", {"evry": 5}, "did you mean 'every'"),
        ("network", {"embed_dimm": 8}, "embed_dimm"),
        ("training", {"steps": "many"}, "training.steps"),
        ("training", {"steps": True}, "training.steps"),
        ("training", {"steps": 0}, "at least 1"),
        ("training", {"loss": "l3"}, "l1, charbonnier, mse"),
        ("training", {"learning_rate": -1.0}, "learning_rate"),
        ("training", {"learning_rate": math.nan}, "training.learning_rate"),
        ("training", {"learning_rate": math.inf}, "training.learning_rate"),
        ("training", {"weight_decay": -1e-4}, "training.weight_decay"),
        ("training", {"weight_decay": math.nan}, "training.weight_decay"),
        ("training", {"betas": [0.9, math.nan]}, "training.betas"),
        ("training", {"betas": [0.9, 1.0]}, "training.betas"),
        ("training", {"clip": -1}, "training.clip"),
        ("training", {"clip": math.nan}, "training.clip"),
        ("training", {"charbonnier_eps": 0}, "training.charbonnier_eps"),
        ("training", {"final_learning_rate": math.nan}, "training.final_learning_rate"),
        ("data", {"workers": 0}, "data.workers"),
        ("data", {"batch": 0}, "data.batch"),
        ("data", {"draw": "luck"}, "data.draw: 'luck' is not one of area, image"),
        ("data", {"mixup": -1}, "data.mixup"),
        ("validation", {"pairs": ["a"]}, "validation.pairs"),
        ("training", {"betas": [0.9]}, "training.betas: 2 values"),
        ("training", {"milestones": [2.0]}, "shares"),
        ("training", {"stages": [[0.0, 8]]}, "3 values"),
        ("training", {"ema": 1.0}, "training.ema"),
        ("data", {"images": []}, "data.images"),
        ("data", {"noise": [50, 10]}, "noise"),
        ("data", {"pairs": ["a"]}, "data.pairs"),
        ("data", {"targets": ["a"], "zoom": [1.0, 0.5]}, "data.targets"),
        ("data", {"target_share": [0.5, 1.5]}, "data.target_share"),
        ("degradation", {"noise": [50, 10]}, "degradation.noise"),
        ("degradation", {"jpeg": [0, 90]}, "degradation.jpeg"),
        ("degradation", {"jpeg": [20.5, 90]}, "degradation.jpeg"),
        ("degradation", {"clean_share": 1.5}, "degradation.clean_share"),
        ("degradation", {"kernels": ["sharp"]}, "degradation.kernels"),
        ("degradation", {"kernels": ["bicubic", "area"]}, "degradation.kernel_shares"),
        ("degradation", {"subsampling_shares": [0.5, 0.2]}, "degradation.subsampling_shares"),
        ("validation", {"degradations": ["jpg 75"]}, "validation.degradations"),
        ("data", {"zoom": [2.0]}, "data.zoom"),
        ("network", {"upsampler": "", "upscale": 1}, "needs network.upsampler"),
        ("network", {"jpeg_level_map": 1}, "jpeg_level_map"),
    ],
)
def test_a_wrong_setting_is_an_error_that_names_it(
    tmp_path: Path, section: str, values: dict[str, object], named: str
) -> None:
    with pytest.raises(UsageError) as caught:
        settings(tmp_path, **{section: values})
    assert named in str(caught.value)
    assert str(caught.value).count("\n") <= 1


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"task": "deblur"},
        {"task": "blur"},
        {"name": "a/b"},
        {"name": ".."},
        {"name": "."},
        {"name": ""},
        {"name": "-x"},
        {"name": "a\\b"},
        {"name": "a\x1b[2J"},
        {"data": 3},
        {"network": {"dim": 8}},
        {"output": 1},
    ],
)
def test_wrong_top_level_entries_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        settings_from_mapping(mapping(tmp_path) | change)


@pytest.mark.parametrize("missing", ["name", "task", "network", "data", "training"])
def test_missing_sections_are_named(tmp_path: Path, missing: str) -> None:
    recipe = mapping(tmp_path)
    del recipe[missing]
    with pytest.raises(UsageError, match=f"'{missing}' is missing"):
        settings_from_mapping(recipe)


def test_overrides_win_over_the_file() -> None:
    path = RECIPES / "mair-lite-x4.toml"
    recipe = read_settings(path, ["training.steps=7", "data.images=['a', 'b']", "training.schedule=multistep"])
    assert (recipe.training.steps, recipe.data.images, recipe.training.schedule) == (7, ("a", "b"), "multistep")
    with pytest.raises(UsageError, match="unknown key 'step'"):
        read_settings(path, ["training.step=7"])
    with pytest.raises(UsageError, match=r"section\.key=value"):
        read_settings(path, ["training.steps"])


def test_values_are_toml_and_bare_words_are_text() -> None:
    assert [parse_value(text) for text in ("3", "0.5", "true", "[1, 2]", "word", '"7"')] == [
        3,
        0.5,
        True,
        [1, 2],
        "word",
        "7",
    ]


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="devices of POSIX")
def test_a_device_is_no_recipe() -> None:
    with pytest.raises(UsageError, match="/dev/zero is no recipe"):
        read_settings(Path("/dev/zero"))


def test_files_that_are_no_toml_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read_settings(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("name = ")
    with pytest.raises(UsageError, match="not valid TOML"):
        read_settings(tmp_path / "bad.toml")


UNET = {"dim": 8, "num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1}


@pytest.mark.parametrize("task", ["real-denoise", "deblur", "dehaze"])
def test_tasks_of_the_u_shaped_network_are_learnt_from_pairs_alone(tmp_path: Path, task: str) -> None:
    recipe = mapping(tmp_path) | {"task": task, "network": UNET}
    with pytest.raises(UsageError, match=r"needs data\.pairs"):
        settings_from_mapping(recipe)
    pairs = ["inputs", "targets"]
    recipe["data"] = {"pairs": pairs}
    assert settings_from_mapping(recipe).scale == 1
    with pytest.raises(UsageError, match=r"validation\.pairs"):
        settings_from_mapping(recipe | {"validation": {"images": ["x"]}})
    with pytest.raises(UsageError, match="without upsampler"):
        settings_from_mapping(recipe | {"network": {"upscale": 2}})
    with pytest.raises(UsageError, match="dual_pixel_task"):
        settings_from_mapping(recipe | {"network": UNET | {"dual_pixel_task": True, "inp_channels": 6}})
    with pytest.raises(UsageError, match="mixup"):
        settings_from_mapping(
            recipe | {"data": {"pairs": pairs, "mixup": 1.2}, "network": UNET | {"noise_level_map": True}}
        )
