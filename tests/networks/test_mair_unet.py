"""The U-shaped network computes what the published one does, has its parameters, and takes images of any size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from mair_cli.errors import UsageError
from mair_cli.networks import build_network, config_from_mapping, set_backend
from mair_cli.networks.blocks import StochasticDepth, VisionMambaModule, mirror_to_multiple
from mair_cli.networks.mair_unet import MaIRUNet
from mair_cli.weights.catalog import MODELS

TINY: dict[str, object] = {
    "dim": 8,
    "num_blocks": (1, 1, 1, 1),
    "num_refinement_blocks": 1,
    "ssm_ratio": 1.0,
    "flp_ratio": 1.0,
    "mlp_ratio": 1.0,
    "scan_len": 4,
}


def reference_case(golden: Path, name: str) -> tuple[nn.Module, Tensor, Tensor]:
    with safe_open(golden / f"{name}.io.safetensors", "pt") as file:
        network = build_network(json.loads(file.metadata()["config"]))
        image, expected = file.get_tensor("input"), file.get_tensor("output")
    network.load_state_dict(torch.load(golden / f"{name}.pth", weights_only=True)["params"])
    return network, image, expected


@pytest.mark.parametrize("backend", ["reference", "auto"])
@pytest.mark.parametrize("name", ["unet", "unet_stripe4"])
def test_output_is_that_of_the_published_code(name: str, backend: str, golden: Path) -> None:
    network, image, expected = reference_case(golden, name)
    set_backend(network, backend)
    with torch.inference_mode():
        assert (network(image) - expected).abs().max() <= 2e-5


@pytest.mark.parametrize("name", ["mair-realdn", "mair-motiondeblur", "mair-dh-its", "mair-dh-ots", "mair-dh-r6k"])
def test_parameters_are_those_of_the_published_checkpoint(name: str, golden: Path) -> None:
    listed = json.loads((golden / "state_dicts.json").read_text())
    entry = MODELS[name]
    expected = listed[entry.file.removesuffix(".pth")]
    expected = listed[expected.removeprefix("as ")] if isinstance(expected, str) else expected
    with torch.device("meta"):
        network = build_network(entry.config)
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == expected


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (2, 3), (4, 5), (8, 8), (9, 17), (23, 1)])
def test_images_of_every_size_are_restored_at_their_size(height: int, width: int) -> None:
    network = build_network(TINY)
    image = torch.rand(2, 3, height, width)
    with torch.inference_mode():
        restored = network(image)
        assert restored.shape == image.shape
        assert torch.isfinite(restored).all()
        # What is added at the border must not depend on how the caller pads: extending first gives the same picture.
        extended = network(mirror_to_multiple(image, 8))[:, :, :height, :width]
    torch.testing.assert_close(restored, extended, rtol=0, atol=0)


@pytest.mark.parametrize("height", [1, 2, 3, 4, 5, 7, 8, 13])
@pytest.mark.parametrize("width", [1, 2, 6, 9, 16])
def test_borders_are_mirrored_as_numpy_mirrors_them_down_to_one_pixel(height: int, width: int) -> None:
    image = torch.arange(float(3 * height * width)).view(1, 3, height, width)
    below, right = -height % 8, -width % 8
    expected = np.pad(image.numpy(), ((0, 0), (0, 0), (0, below), (0, right)), mode="reflect")
    np.testing.assert_array_equal(mirror_to_multiple(image, 8).numpy(), expected)


def scans(settings: dict[str, object]) -> list[VisionMambaModule]:
    return [module for module in build_network(settings).modules() if isinstance(module, VisionMambaModule)]


def test_no_block_shifts_its_stripes_and_all_share_one_width() -> None:
    assert [(scan.stripe, scan.shifted) for scan in scans(TINY)] == [(4, False)] * 8


def test_every_second_block_shifts_its_stripes_where_the_settings_ask_for_it() -> None:
    assert [scan.shifted for scan in scans({**TINY, "shift": True})] == [False, True] * 4


@pytest.mark.parametrize("setting", [{"dual_pixel_task": True}, {"inp_channels": 6}, {"bias": True}])
def test_settings_of_other_networks_than_the_published_are_refused_by_name(setting: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(setting))):
        config_from_mapping({**TINY, **setting})


@pytest.mark.parametrize("ratio", [1.0, 1.2, 1.25, 1.3, 2.0])
def test_ratios_are_inferred_from_all_levels_together(ratio: float) -> None:
    """At the first level 1.25 and 1.3 give the same widths, deeper they do not."""
    settings = {**TINY, "dim": 16, "ssm_ratio": ratio, "mlp_ratio": ratio, "flp_ratio": ratio}
    with torch.device("meta"):
        state = build_network(settings).state_dict()
        inferred = build_network({**MaIRUNet.infer_settings(state), "scan_len": 4}).state_dict()
    assert {name: value.shape for name, value in inferred.items()} == {name: v.shape for name, v in state.items()}


def test_multiply_adds_are_those_that_the_article_counts() -> None:
    network = build_network(MODELS["mair-dh-its"].config)
    assert network.multiply_adds_per_pixel() * 256**2 / 1e9 == pytest.approx(23.58, abs=0.005)


def test_every_parameter_learns_and_stochastic_depth_rises_over_all_blocks() -> None:
    torch.manual_seed(0)
    network = build_network({**TINY, "drop_path_rate": 0.3}).train()
    assert isinstance(network, MaIRUNet)
    rates = [module.rate for module in network.modules() if isinstance(module, StochasticDepth)]
    assert rates == sorted(rates)
    assert rates[0] == 0
    assert rates[-1] == pytest.approx(0.3)
    for _ in range(6):  # a branch may be dropped for all images of one step
        network(torch.rand(2, 3, 16, 16)).square().mean().backward()
    assert not [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]


def test_settings_survive_being_written_and_read() -> None:
    config = config_from_mapping(TINY)
    assert config_from_mapping(json.loads(json.dumps(config.to_mapping()))) == config
