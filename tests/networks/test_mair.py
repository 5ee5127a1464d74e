"""MaIR against reference values of the published network, and its own promises."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from mair_cli.errors import UsageError
from mair_cli.networks import MaIR, MaIRConfig, build_network, config_from_mapping, set_backend
from mair_cli.networks.blocks import StochasticDepth
from mair_cli.weights.checkpoint import load_network

NETWORKS = ["classic_x2", "classic_x3", "classic_x4", "denoise", "light_d16_x3", "light_d1_x4"]
TINY = {"embed_dim": 8, "depths": [2], "d_state": 2, "scan_len": 4}


def _reference(folder: Path, name: str) -> tuple[dict[str, object], Tensor, Tensor]:
    with safe_open(folder / f"{name}.io.safetensors", framework="pt") as file:
        return json.loads(file.metadata()["config"]), file.get_tensor("input"), file.get_tensor("output")


@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize("name", NETWORKS)
def test_output_equals_that_of_the_published_network(golden: Path, name: str, backend: str) -> None:
    config, image, expected = _reference(golden, name)
    network = load_network(golden / f"{name}.pth", config)
    set_backend(network, backend)
    with torch.inference_mode():
        torch.testing.assert_close(network(image), expected, atol=2e-5, rtol=0)


PUBLISHED = {
    "MaIR_SR": (180, 6, 16, 2.0, 2.5, "pixelshuffle", 8),
    "MaIR_S_lightSR": (60, 4, 16, 1.4, 1.6, "pixelshuffledirect", 4),
    "MaIR_T_lightSR": (60, 4, 1, 1.1, 1.6, "pixelshuffledirect", 8),
    "MaIR_CDN": (180, 6, 16, 1.3, 2.0, None, 4),
}


@pytest.mark.parametrize(
    "file", [f"{family}_x{scale}" for family in list(PUBLISHED)[:3] for scale in (2, 3, 4)] + ["MaIR_CDN_s15"]
)
def test_parameters_are_named_and_shaped_as_in_published_checkpoints(golden: Path, file: str) -> None:
    expected = json.loads((golden / "state_dicts.json").read_text())[file]
    family, _, last = file.rpartition("_")
    width, groups, states, ssm, mlp, head, stripe = PUBLISHED[family]
    config = MaIRConfig(
        upscale=int(last[1:]) if last.startswith("x") else 1,
        embed_dim=width,
        depths=(6,) * groups,
        d_state=states,
        ssm_ratio=ssm,
        mlp_ratio=mlp,
        upsampler=head,  # type: ignore[arg-type]
        scan_len=stripe,
    )
    with torch.device("meta"):
        state = build_network(config).state_dict()
    assert {name: list(tensor.shape) for name, tensor in state.items()} == expected


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (3, 2), (9, 17)])
def test_any_image_size_works_down_to_one_pixel(height: int, width: int) -> None:
    network = build_network({**TINY, "upscale": 3})
    with torch.inference_mode():
        assert network(torch.rand(2, 3, height, width)).shape == (2, 3, 3 * height, 3 * width)


def test_images_of_a_batch_do_not_influence_each_other() -> None:
    network = build_network({**TINY, "upscale": 2})
    batch = torch.rand(3, 3, 6, 5)
    with torch.inference_mode():
        together = network(batch)
        alone = torch.cat([network(image[None]) for image in batch])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)


def test_noise_level_map_changes_the_result_and_is_demanded() -> None:
    network = build_network({**TINY, "upscale": 1, "upsampler": None, "noise_level_map": True})
    image = torch.rand(2, 3, 5, 5)
    with torch.inference_mode():
        assert not torch.equal(network(image, 0.1), network(image, 0.2))
        mixed = network(image, torch.tensor([0.1, 0.2]))
        torch.testing.assert_close(mixed[1:], network(image[1:], 0.2), atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="noise_level"):
        network(image)
    with pytest.raises(ValueError, match="noise_level"):
        build_network({**TINY, "upscale": 2})(image, 0.1)


def test_bottleneck_convolutions_and_plain_sum_are_built_on_request() -> None:
    network = build_network({**TINY, "upscale": 2, "resi_connection": "3conv", "aggregation": "sum"})
    names = network.state_dict().keys()
    assert "conv_after_body.4.weight" in names
    assert not any("gating" in name for name in names)
    with torch.inference_mode():
        assert torch.isfinite(network(torch.rand(1, 3, 6, 6))).all()


def test_scan_pattern_and_shift_reach_the_blocks() -> None:
    image = torch.rand(1, 3, 9, 9)
    outputs = []
    for settings in ({}, {"scan_pattern": "raster"}, {"scan_pattern": "window"}, {"shift": False}):
        torch.manual_seed(0)
        with torch.inference_mode():
            outputs.append(build_network({**TINY, "upscale": 2, **settings})(image))
    assert all(not torch.equal(a, b) for i, a in enumerate(outputs) for b in outputs[:i])


def test_fresh_scan_parameters_start_as_published() -> None:
    network = build_network({**TINY, "d_state": 4})
    assert isinstance(network, MaIR)
    state = network.state_dict()
    prefix = "layers.0.residual_group.blocks.0.self_attention."
    torch.testing.assert_close(state[prefix + "A_logs"][0].exp(), torch.tensor([1.0, 2.0, 3.0, 4.0]))
    step = torch.nn.functional.softplus(state[prefix + "dt_projs_bias"])
    assert 0.00099 < float(step.min()) < float(step.max()) < 0.101
    assert float(state[prefix + "Ds"].min()) == 1
    assert not network.training


def test_stochastic_depth_drops_whole_images_only_while_training() -> None:
    layer = StochasticDepth(0.5)
    x = torch.ones(64, 2, 2)
    torch.manual_seed(0)
    kept = layer(x).flatten(1)
    assert {float(value) for value in kept.unique()} == {0.0, 2.0}
    assert bool((kept == kept[:, :1]).all())
    assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"embed_dims": 60}, "embed_dims"),
        ({"upscale": 5}, "upscale"),
        ({"upscale": 2, "upsampler": None}, "upscale"),
        ({"depths": "66"}, "depths"),
        ({"depths": []}, "depths"),
        ({"d_state": True}, "d_state"),
        ({"upsampler": "nearest+conv"}, "upsampler"),
        ({"patch_size": 2}, "patch_size"),
        ({"scan_pattern": "hilbert"}, "scan_pattern"),
        ({"dim": 48, "num_blocks": [1, 2, 3]}, "num_blocks"),
        ({"dim": 48, "embed_dim": 48}, "embed_dim"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings: dict[str, object], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        config_from_mapping(settings)


def test_settings_survive_the_way_to_a_mapping_and_back() -> None:
    config = config_from_mapping({"embed_dim": 48, "depths": [4, 4], "upsampler": "", "upscale": 1, "img_size": 64})
    assert config_from_mapping(json.loads(json.dumps(config.to_mapping()))) == config
