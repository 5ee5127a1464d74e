"""`mair info`: facts of models by name, here or not, and of files."""

from __future__ import annotations

import pytest
from calling import REFERENCE, mair

from mair_cli.networks import MaIRConfig, build_network
from mair_cli.weights.catalog import MODELS
from mair_cli.weights.checkpoint import save_checkpoint

pytestmark = pytest.mark.usefixtures("settled")


@pytest.mark.parametrize("name", ["mair-lite-x2", "mair-lite-x3", "mair-lite-x4", "mair-lite-denoise", "mair-dh-its"])
def test_a_model_is_described_whether_its_weights_are_here_or_not(name: str) -> None:
    (facts,) = mair("info", name, "--json").records
    entry = MODELS[name]
    assert (facts["name"], facts["restores"], facts["scale"]) == (name, entry.purpose, entry.scale)
    assert facts["parameters"] == entry.parameters
    assert facts["here"] is (entry.origin == "bundled")
    assert facts["licence"] == entry.licence
    assert facts["stripe"] == facts["settings"]["scan_len"] == (entry.stripe or 8)
    assert facts["memory_per_megapixel"] > 1e8
    shown = {key: value for key, value in entry.config.items() if key in facts["settings"]}
    assert all(facts["settings"][key] == (list(v) if isinstance(v, tuple) else v) for key, v in shown.items())
    assert entry.origin == "bundled" or len(shown) > 5


def test_multiply_adds_are_for_the_size_that_papers_use() -> None:
    """One convolution before and one after the body are known exactly; the whole lies above, within reason."""
    (facts,) = mair("info", "mair-t-x4", "--json").records
    assert facts["multiply_adds_for"] == "1280×720 result"
    width = facts["settings"]["embed_dim"]
    ends = 320 * 180 * (3 * width * 9 + width * 48 * 9)
    assert 10 * ends < facts["multiply_adds"] < 100 * ends


def test_the_published_figure_of_the_dehazing_network_is_met() -> None:
    (facts,) = mair("info", "mair-dh-its", "--json").records
    assert facts["multiply_adds_for"] == "256×256 input"
    assert facts["multiply_adds"] == pytest.approx(23.58e9, rel=0.01)


def test_a_file_tells_its_task_and_the_levels_it_takes() -> None:
    config = MaIRConfig(upscale=2, embed_dim=8, depths=(1,), noise_level_map=True, jpeg_level_map=True)
    save_checkpoint("own.safetensors", build_network(config).state_dict(), config, {"task": "sr"})
    (facts,) = mair("info", "own.safetensors", "--json").records
    assert (facts["origin"], facts["restores"], facts["levels"]) == ("file", "super-resolution ×2", ["sigma", "jpeg"])
    said = mair("info", "own.safetensors").text
    assert "--sigma, --jpeg" in said
    assert "GiB per megapixel" in said


def test_a_published_file_takes_the_stripe_that_it_does_not_tell() -> None:
    (facts,) = mair("info", REFERENCE / "light_d1_x4.pth", "--stripe", 4, "--json").records
    assert (facts["stripe"], facts["scale"], facts["levels"]) == (4, 4, [])


def test_a_model_that_is_not_here_says_how_to_get_it() -> None:
    assert "mair download mair-sr-x4" in mair("info", "mair-sr-x4").text


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("mair-lite-x5",), 2, "Did you mean mair-lite-x"),
        (("gone.pth",), 2, "gone.pth: no such file"),
        (("mair-t-x4", "--stripe", "4"), 2, "--stripe"),
        ((), 2, "NAME|FILE"),
    ],
)
def test_wrong_names_are_told(arguments: tuple[str, ...], code: int, says: str) -> None:
    ran = mair("info", *arguments)
    assert ran.code == code
    assert says in ran.err
