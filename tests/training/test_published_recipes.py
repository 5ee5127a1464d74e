"""The published recipes: the published networks, their schedules, and that each of them trains."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from tiny_runs import image_folder, run, texture

from mair_cli.networks.settings import MaIRUNetConfig
from mair_cli.training.recipe import Settings, read_settings
from mair_cli.training.schedule import learning_rate, patch_and_batch
from mair_cli.weights.catalog import MODELS

RECIPES = {path.stem: path for path in (Path(__file__).parents[2] / "recipes" / "published").glob("*.toml")}


def test_there_is_one_recipe_for_each_published_network_of_the_article() -> None:
    published = {name for name, entry in MODELS.items() if entry.origin == "published"}
    assert len(RECIPES) == 17
    assert RECIPES.keys() <= published
    assert not [name for name in published - RECIPES.keys() if name.startswith("mair-")]


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_its_network_is_that_of_the_published_checkpoint(name: str) -> None:
    recipe, entry = read_settings(RECIPES[name]), MODELS[name]
    assert (recipe.name, recipe.task, recipe.scale) == (name, entry.task, entry.scale)
    asked = recipe.network.to_mapping()
    known = {key: list(value) if isinstance(value, tuple) else value for key, value in entry.config.items()}
    assert {key: asked[key] for key in known if key in asked} == {key: known[key] for key in known if key in asked}
    # Which no published network sets otherwise:
    assert known.keys() - asked.keys() <= {"bias", "dynamic_ids", "dual_pixel_task", "inp_channels", "out_channels"}


def rates(recipe: Settings, *steps: int) -> list[float]:
    return [learning_rate(recipe.training, step) for step in steps]


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("mair-sr-x2", 500_000),
        ("mair-sr-x3", 250_000),
        ("mair-sr-x4", 250_000),
        ("mair-s-x2", 500_000),
        ("mair-s-x3", 500_000),
        ("mair-s-x4", 250_000),
        ("mair-t-x2", 500_000),
        ("mair-t-x3", 250_000),
        ("mair-t-x4", 250_000),
    ],
)
def test_super_resolution_is_halved_at_the_published_steps(name: str, steps: int) -> None:
    recipe = read_settings(RECIPES[name])
    training = recipe.training
    assert (training.steps, training.loss, training.optimizer, training.betas) == (steps, "l1", "adam", (0.9, 0.99))
    assert (recipe.data.patch, recipe.data.batch, recipe.data.draw) == (64, 32, "image")
    assert bool(training.start_from) == (recipe.scale != 2)
    half = steps // 2
    assert rates(recipe, half - 1, half, steps - 1) == pytest.approx([2e-4, 1e-4, 2e-4 / 16])


def test_denoising_is_halved_at_the_published_steps() -> None:
    recipe = read_settings(RECIPES["mair-cdn-s15"])
    halvings = [
        step
        for step in range(0, 3_200_000, 100_000)
        if step and learning_rate(recipe.training, step) < learning_rate(recipe.training, step - 1)
    ]
    assert halvings == [1_600_000, 2_100_000, 2_500_000, 2_800_000, 3_000_000]
    assert (recipe.training.loss, recipe.training.charbonnier_eps) == ("charbonnier", 1e-6)
    assert (recipe.data.patch, recipe.data.batch) == (128, 8)
    assert [read_settings(RECIPES[f"mair-cdn-s{sigma}"]).degradation.noise for sigma in (15, 25, 50)] == [
        (15.0,),
        (25.0,),
        (50.0,),
    ]


@pytest.mark.parametrize("name", ["mair-realdn", "mair-motiondeblur"])
def test_patches_of_the_u_shaped_network_grow_at_the_published_steps(name: str) -> None:
    recipe = read_settings(RECIPES[name])
    stages = [
        patch_and_batch(recipe.data, recipe.training, step)
        for step in (0, 183_999, 184_000, 343_999, 344_000, 535_999, 536_000, 718_249)
    ]
    gpus = 8
    assert stages == [(128, 4 * gpus)] * 2 + [(160, 2 * gpus)] * 2 + [(192, gpus)] * 2 + [(256, gpus)] * 2
    assert recipe.data.mixup == (1.2 if name == "mair-realdn" else 0)


@pytest.mark.parametrize(
    ("name", "peak"),
    [("mair-realdn", 3e-4), ("mair-motiondeblur", 3e-4)] + [(f"mair-dh-{s}", 2e-4) for s in ("its", "ots", "r6k")],
)
def test_the_u_shaped_network_holds_its_learning_rate_and_then_falls(name: str, peak: float) -> None:
    recipe = read_settings(RECIPES[name])
    training = recipe.training
    middle = (184_000 + training.steps) // 2
    expected = [peak, peak, (peak + 1e-6) / 2, 1e-6]
    assert rates(recipe, 0, 183_999, middle, training.steps - 1) == pytest.approx(expected, rel=1e-3)
    assert (training.optimizer, training.weight_decay, training.clip) == ("adamw", 1e-4, 0.01)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_reduced_in_size_it_trains(name: str, tmp_path: Path) -> None:
    recipe = read_settings(RECIPES[name])
    changes = [
        "training.steps=2",
        "training.log_every=1",
        f"output={str(tmp_path / 'run')!r}",
        "training.start_from=''",
    ]
    changes += ["data.patch=8", "data.batch=2"]
    if recipe.training.stages:
        changes += ["training.stages=[[0.5, 16, 1]]"]
    if isinstance(recipe.network, MaIRUNetConfig):
        changes += ["network.dim=8", "network.num_blocks=[1, 1, 1, 1]", "network.num_refinement_blocks=1"]
    else:
        changes += ["network.embed_dim=8", "network.depths=[2]"]
    targets = image_folder(tmp_path / "targets", 2)
    if recipe.data.pairs:
        (tmp_path / "inputs").mkdir()
        for seed in range(2):
            Image.fromarray(255 - texture(seed)).save(tmp_path / "inputs" / f"{seed}.png")
        changes += [f"data.pairs={[str(tmp_path / 'inputs'), str(targets)]}"]
        changes += [f"validation.pairs={[str(tmp_path / 'inputs'), str(targets)]}"]
    else:
        changes += [f"data.images={[str(targets)]}", "validation.holdout=1"]
    outcome = run(read_settings(RECIPES[name], changes))
    assert outcome.finished
    assert outcome.best is not None
