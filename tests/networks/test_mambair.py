"""MambaIR computes what its paper and published parameter names say, through the same scan as MaIR."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from mair_cli.errors import UsageError
from mair_cli.networks import MambaIRConfig, build_network, config_from_mapping
from mair_cli.networks.mambair import MambaIR, RasterMambaModule
from mair_cli.weights.checkpoint import load_checkpoint, load_network

SMALL: dict[str, object] = {
    "upscale": 2,
    "embed_dim": 12,
    "depths": (2, 1),
    "d_state": 3,
    "ssm_ratio": 1.5,
    "upsampler": "pixelshuffledirect",
}


def _network(form: str = "classic", **changes: object) -> MambaIR:
    torch.manual_seed(1)
    network = build_network({**SMALL, "channel_attention": form, **changes})
    assert isinstance(network, MambaIR)
    return network


def _scan(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """One direction, step by step: u, delta (L, D); a (D, N); b, c (L, N); d (D)."""
    state = torch.zeros_like(a)
    out = []
    for step in range(u.shape[0]):
        state = torch.exp(delta[step, :, None] * a) * state + (delta[step] * u[step])[:, None] * b[step]
        out.append(state @ c[step] + d * u[step])
    return torch.stack(out)


def _published_module(p: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """MambaIR's module on one image (H, W, C): rows, columns, and both read backwards, are scanned and summed."""
    height, width, _ = x.shape
    features, gate = F.linear(x, p["in_proj.weight"]).chunk(2, dim=-1)
    inner = features.shape[-1]
    u = F.silu(
        F.conv2d(features.permute(2, 0, 1)[None], p["conv2d.weight"], p["conv2d.bias"], padding=1, groups=inner)
    )[0]
    rows, columns = u.flatten(1).T, u.transpose(1, 2).flatten(1).T
    total = torch.zeros(height, width, inner)
    states = p["A_logs"].shape[1]
    rank = p["dt_projs_weight"].shape[-1]
    for k, line in enumerate((rows, columns, rows.flip(0), columns.flip(0))):
        r, b, c = F.linear(line, p["x_proj_weight"][k]).split([rank, states, states], dim=-1)
        delta = F.softplus(F.linear(r, p["dt_projs_weight"][k], p["dt_projs_bias"][k]))
        a = -p["A_logs"].view(4, inner, states)[k].exp()
        y = _scan(line, delta, a, b, c, p["Ds"].view(4, inner)[k])
        if k >= 2:
            y = y.flip(0)
        total += y.view(width, height, inner).transpose(0, 1) if k % 2 else y.view(height, width, inner)
    normed = F.layer_norm(total, (inner,), p["out_norm.weight"], p["out_norm.bias"])
    return F.linear(normed * F.silu(gate), p["out_proj.weight"])


@pytest.mark.parametrize("size", [(5, 7), (8, 3), (1, 6)])
def test_module_scans_rows_and_columns_in_the_published_order_of_directions(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    module = RasterMambaModule(12, 3, 1.5)
    module.scan_backend = "reference"
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))  # no two directions may be interchangeable
        x = torch.randn(*size, 12)
        torch.testing.assert_close(
            module(x[None])[0], _published_module(dict(module.named_parameters()), x), atol=2e-5, rtol=0
        )


def test_block_is_scaled_input_plus_scan_then_scaled_input_plus_channel_attention() -> None:
    group = _network().layers[0]
    block = group.get_submodule("residual_group.blocks.0")
    parameters = dict(block.named_parameters())
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.add_(0.1 * torch.randn_like(parameter))
        x = torch.randn(1, 6, 5, 12)
        normed = F.layer_norm(x, (12,), parameters["ln_1.weight"], parameters["ln_1.bias"])
        scan = {name.removeprefix("self_attention."): value for name, value in parameters.items()}
        y = x * parameters["skip_scale"] + _published_module(scan, normed[0])
        z = F.layer_norm(y, (12,), parameters["ln_2.weight"], parameters["ln_2.bias"]).permute(0, 3, 1, 2)
        for layer, activation in (("0", F.gelu), ("2", None)):
            z = F.conv2d(
                z, parameters[f"conv_blk.cab.{layer}.weight"], parameters[f"conv_blk.cab.{layer}.bias"], padding=1
            )
            z = activation(z) if activation else z
        pooled = z.mean(dim=(2, 3), keepdim=True)
        attention = "conv_blk.cab.3.attention."
        pooled = F.relu(F.conv2d(pooled, parameters[attention + "1.weight"], parameters[attention + "1.bias"]))
        pooled = F.conv2d(pooled, parameters[attention + "3.weight"], parameters[attention + "3.bias"])
        expected = y * parameters["skip_scale2"] + (z * torch.sigmoid(pooled)).permute(0, 2, 3, 1)
        torch.testing.assert_close(block(x), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    ("settings", "millions"),
    [
        ({"upscale": 2, "channel_attention": "classic"}, 20.4),
        (
            {
                "upscale": 2,
                "channel_attention": "light",
                "embed_dim": 60,
                "depths": (6, 6, 6, 6),
                "ssm_ratio": 1.2,
                "d_state": 10,
                "upsampler": "pixelshuffledirect",
            },
            0.905,
        ),
    ],
)
def test_published_settings_have_the_published_number_of_parameters(
    settings: dict[str, object], millions: float
) -> None:
    with torch.device("meta"):
        network = build_network(settings)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)


def test_light_form_has_the_published_names() -> None:
    names = {name for name in _network("light").state_dict() if ".blocks.0.conv_blk." in name and "layers.0" in name}
    prefix = "layers.0.residual_group.blocks.0.conv_blk.cab."
    layers = ("0", "1", "3", "4", "5.attention.1", "5.attention.3")
    assert names == {f"{prefix}{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}


@pytest.mark.parametrize("form", ["classic", "narrow", "light"])
@pytest.mark.parametrize("head", ["pixelshuffle", "pixelshuffledirect", None])
def test_checkpoint_tells_its_settings_and_needs_no_stripe(form: str, head: str | None, tmp_path: Path) -> None:
    network = _network(form, upsampler=head, upscale=1 if head is None else 2)
    path = tmp_path / "mambair.pth"
    torch.save({"params": network.state_dict()}, path)
    loaded = load_checkpoint(path)
    assert isinstance(loaded.config, MambaIRConfig)
    assert loaded.config.channel_attention == form
    image = torch.rand(1, 3, 9, 7)
    with torch.inference_mode():
        torch.testing.assert_close(load_network(path)(image), network(image), atol=1e-6, rtol=0)


def test_settings_survive_the_way_through_a_mapping() -> None:
    config = MambaIRConfig(channel_attention="light", embed_dim=60)
    assert config_from_mapping(config.to_mapping()) == config


def test_settings_that_would_be_another_network_are_refused() -> None:
    with pytest.raises(UsageError, match="channel_attention"):
        config_from_mapping({"channel_attention": "heavy"})
    with pytest.raises(UsageError, match="scan_pattern"):
        config_from_mapping({"channel_attention": "light", "scan_pattern": "nested"})


def test_settings_have_nothing_that_means_nothing_here() -> None:
    names = set(MambaIRConfig().to_mapping())
    assert not names & {"mlp_ratio", "scan_len", "shift", "aggregation", "scan_pattern"}


def test_files_of_earlier_versions_load_although_they_name_settings_of_mair(tmp_path: Path) -> None:
    network = _network("light")
    earlier = {
        **network.config.to_mapping(),
        "mlp_ratio": 1.0,
        "scan_len": 8,
        "scan_pattern": "raster",
        "shift": False,
        "aggregation": "sum",
    }
    path = tmp_path / "earlier.safetensors"
    save_file(network.state_dict(), path, {"config": json.dumps(earlier)})
    assert load_checkpoint(path).config == network.config
    assert load_checkpoint(path, stripe=4).config == network.config
