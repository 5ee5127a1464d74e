"""MambaIRv2 computes what the published code does, reads its checkpoints, and can be trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mair_cli.errors import UsageError
from mair_cli.networks import MambaIRv2, MambaIRv2Config, build_network, config_from_mapping, set_backend
from mair_cli.restore.restorer import Restorer
from mair_cli.weights.checkpoint import load_checkpoint, load_network

REFERENCE = Path(__file__).parents[1] / "reference"
LIGHT = {"depths": [5] * 4, "num_heads": [4] * 4, "embed_dim": 48, "d_state": 8, "inner_rank": 32, "num_tokens": 64}


@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize("name", ["light", "gray"])
def test_published_weights_give_published_outputs(name: str, backend: str) -> None:
    """Their files hold a table of int64 numbers besides, which follows from the window."""
    network = load_network(REFERENCE / f"mambairv2_{name}.pth")
    set_backend(network, backend)
    values = load_file(REFERENCE / f"mambairv2_{name}.io.safetensors")
    with torch.inference_mode():
        torch.testing.assert_close(network(values["input"]), values["output"], rtol=1e-5, atol=2e-5)


def test_a_file_tells_its_settings() -> None:
    config = load_checkpoint(REFERENCE / "mambairv2_light.pth").config
    assert isinstance(config, MambaIRv2Config)
    assert (config.feed_forward, config.window_size, config.num_heads) == ("gated", 8, (2,))
    gray = load_checkpoint(REFERENCE / "mambairv2_gray.pth").config
    assert isinstance(gray, MambaIRv2Config)
    assert (gray.feed_forward, gray.in_chans, gray.upsampler) == ("conv", 1, None)


@pytest.mark.parametrize(
    ("settings", "millions"),
    [
        ({"upscale": 2}, 22.9),
        ({"upscale": 2, "depths": [4] * 6, "num_heads": [4] * 6, "embed_dim": 132}, 9.6),
        ({**LIGHT, "upscale": 2, "mlp_ratio": 1.0, "upsampler": "pixelshuffledirect", "feed_forward": "gated"}, 0.774),
    ],
)
def test_published_networks_have_the_published_numbers_of_parameters(
    settings: dict[str, object], millions: float
) -> None:
    with torch.device("meta"):
        network = build_network({"window_size": 16, **settings})
    assert isinstance(network, MambaIRv2)
    assert sum(parameter.numel() for parameter in network.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)


def test_every_parameter_learns() -> None:
    network = load_network(REFERENCE / "mambairv2_light.pth").train()
    torch.manual_seed(0)
    network(torch.rand(1, 3, 9, 8)).square().mean().backward()
    assert [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()] == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_heads": [6]}, "one number for each of depths"),
        ({"num_heads": [5] * 6}, "divisors of 174"),
        ({"window_size": 7}, "window_size"),
        ({"num_tokens": 64, "drop_path_rate": 0.1}, "drop_path_rate"),
    ],
)
def test_settings_that_do_not_go_together_are_named(settings: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        config_from_mapping(settings)


def test_a_published_network_for_jpegs_is_taken_though_it_cannot_be_told_of_them() -> None:
    restorer = Restorer(task="dejpeg", weights=REFERENCE / "mambairv2_gray.pth", device="cpu")
    for shape in ((20, 24), (20, 24, 3)):
        image = np.full(shape, 100, np.uint8)
        assert restorer(image).shape == shape
    with pytest.raises(UsageError, match="cannot be told of JPEG"):
        Restorer(task="dejpeg", weights=REFERENCE / "denoise.pth", stripe=4, device="cpu")
