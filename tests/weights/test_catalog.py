"""The catalog names every published checkpoint with the settings that its state dict shows, and chooses sensibly."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from mair_cli.errors import UsageError, WeightsNotFoundError
from mair_cli.store.paths import cache_dir, offline_requested
from mair_cli.tasks import TASKS
from mair_cli.weights.cache import is_available, weights_file
from mair_cli.weights.catalog import MODELS, ModelEntry, find
from mair_cli.weights.choice import candidates, select

PUBLISHED = [entry for entry in MODELS.values() if entry.origin == "published"]


def reference_shapes(golden: Path) -> dict[str, dict[str, list[int]]]:
    listed = json.loads((golden / "state_dicts.json").read_text())
    return {
        name: listed[shapes.removeprefix("as ")] if isinstance(shapes, str) else shapes
        for name, shapes in listed.items()
    }


def test_every_published_file_of_the_reference_list_has_one_entry(golden: Path) -> None:
    assert sorted(entry.file.removesuffix(".pth") for entry in PUBLISHED) == sorted(reference_shapes(golden))


@pytest.mark.parametrize("entry", PUBLISHED, ids=lambda entry: entry.name)
def test_parameter_counts_are_those_of_the_reference_state_dicts(entry: ModelEntry, golden: Path) -> None:
    shapes = reference_shapes(golden)[entry.file.removesuffix(".pth")]
    assert entry.parameters == sum(math.prod(shape) for shape in shapes.values())


def test_catalog_and_cache_import_without_torch() -> None:
    code = "import sys, mair_cli.weights.catalog, mair_cli.weights.cache; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["mair-sr-x4", "MAIR-SR-X4", "MaIR_SR_x4", "MaIR_SR_x4.pth", " mair-sr-x4 "])
def test_a_name_is_found_in_every_spelling_users_meet(name: str) -> None:
    assert find(name).name == "mair-sr-x4"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("mair-t-4x", "mair-t-x4"), ("mair-cdn-25", "mair-cdn-s25"), ("mair_realdenoise", "mair-realdn"), ("x3", "x3")],
)
def test_a_wrong_name_gets_the_nearest_right_ones(typed: str, meant: str) -> None:
    with pytest.raises(UsageError, match=meant):
        find(typed)


def test_a_hopeless_name_points_at_the_list() -> None:
    with pytest.raises(UsageError, match="--list"):
        find("§§§")


def nothing(_entry: ModelEntry) -> bool:
    return False


def everything(_entry: ModelEntry) -> bool:
    return True


def only_bundled(entry: ModelEntry) -> bool:
    return entry.origin == "bundled"


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_auto_prefers_cached_published_weights_to_bundled_ones(scale: int) -> None:
    assert select("sr", scale=scale, cached=everything).name == f"mair-sr-x{scale}"
    assert select("sr", scale=scale, cached=only_bundled).name == f"mair-lite-x{scale}"
    tiny = select("sr", scale=scale, cached=lambda entry: entry.name.startswith(("mair-t", "mair-lite")))
    assert tiny.name == f"mair-t-x{scale}"


def test_a_denoiser_of_one_level_is_never_chosen_for_another() -> None:
    assert select("denoise", sigma=25, cached=everything).name == "mair-cdn-s25"
    assert select("denoise", sigma=26, cached=everything).name == "mair-lite-denoise"
    assert select("denoise", sigma=None, cached=everything).name == "mair-lite-denoise"


@pytest.mark.parametrize(("scene", "name"), [("indoor", "its"), ("outdoor", "ots"), ("mixed", "r6k"), (None, "r6k")])
def test_each_scene_has_its_dehazing_weights(scene: str | None, name: str) -> None:
    assert select("dehaze", scene=scene, cached=everything).name == f"mair-dh-{name}"
    assert select("dehaze", scene=scene, cached=only_bundled).name == "mair-lite-dehaze"


@pytest.mark.parametrize("task", TASKS)
def test_missing_weights_name_the_command_and_the_flag_that_help(task: str) -> None:
    published = any(task in entry.tasks and entry.origin == "published" for entry in MODELS.values())
    fetched = r"`mair download mair-[a-z0-9-]+`.*" if published else ""
    with pytest.raises(WeightsNotFoundError, match=fetched + "`weights` FILE") as caught:
        select(task, sigma=30, cached=nothing)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("task", "scale", "scene", "word"),
    [("sr", 5, None, "2, 3 or 4"), ("dehaze", None, "mars", "indoor, outdoor or mixed"), ("paint", None, None, "sr")],
)
def test_a_job_nobody_trained_for_says_what_there_is(
    task: str, scale: int | None, scene: str | None, word: str
) -> None:
    with pytest.raises(UsageError, match=word):
        candidates(task, scale=scale, scene=scene)


def test_the_cache_folder_can_be_moved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MAIR_CACHE_DIR", str(tmp_path / "elsewhere"))
    assert cache_dir() == tmp_path / "elsewhere"
    entry = find("mair-t-x4")
    assert not is_available(entry)
    weights_file(entry).parent.mkdir(parents=True)
    weights_file(entry).touch()
    assert is_available(entry)
    assert select("sr", scale=4).name == "mair-t-x4"


@pytest.mark.parametrize(
    ("value", "forbidden"), [("1", True), ("true", True), ("0", False), ("", False), ("no", False)]
)
def test_offline_is_read_from_the_environment(value: str, forbidden: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIR_OFFLINE", value)
    assert offline_requested() is forbidden
