"""What every network tells about itself, and how its checkpoints and settings are recognised."""

from __future__ import annotations

import subprocess
import sys
import weakref
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mair_cli.errors import UsageError
from mair_cli.networks import (
    NETWORKS,
    MaIRConfig,
    MaIRFFDNetConfig,
    MaIRSPANConfig,
    MaIRUNetConfig,
    MambaIRConfig,
    MambaIRv2Config,
    NetworkConfig,
    build_network,
)
from mair_cli.networks.levels import known_levels
from mair_cli.networks.settings import config_from_mapping

# Peaks do not depend on the number of blocks.
CONFIGS: dict[str, NetworkConfig] = {
    "light, one state": MaIRConfig(depths=(1,)),
    "light, 16 states": MaIRConfig(depths=(1,), d_state=16, ssm_ratio=1.4),
    "classic": MaIRConfig(
        depths=(1,), embed_dim=180, d_state=16, ssm_ratio=2.0, mlp_ratio=2.5, upsampler="pixelshuffle", upscale=2
    ),
    "denoising": MaIRConfig(
        depths=(1,), embed_dim=180, d_state=16, ssm_ratio=1.3, mlp_ratio=2.0, upsampler=None, upscale=1
    ),
    "MambaIR": MambaIRConfig(depths=(1,), upscale=2),
    "MambaIRv2": MambaIRv2Config(depths=(1,), num_heads=(6,), upscale=2),
    "MambaIRv2, light": MambaIRv2Config(
        depths=(2,),
        num_heads=(4,),
        embed_dim=48,
        d_state=8,
        inner_rank=32,
        num_tokens=64,
        mlp_ratio=1.0,
        upsampler="pixelshuffledirect",
        upscale=3,
        feed_forward="gated",
    ),
    "gray denoising": MaIRConfig(
        depths=(1,), upsampler=None, upscale=1, in_chans=1, jpeg_level_map=True, noise_level_map=True
    ),
    "gray x3": MaIRConfig(depths=(1,), upscale=3, in_chans=1),
    "classic x8": MaIRConfig(depths=(1,), upscale=8, upsampler="pixelshuffle"),
    "light x8": MaIRConfig(depths=(1,), upscale=8),
    "in SPAN's trunk": MaIRSPANConfig(noise_level_map=True, jpeg_level_map=True),
    "in SPAN's trunk, for classic SR": MaIRSPANConfig(depths=(1, 2), upsampler="pixelshuffle", resi_connection="3conv"),
    "in FFDNet's trunk": MaIRFFDNetConfig(noise_level_map=True, jpeg_level_map=True),
    "in FFDNet's trunk, gray": MaIRFFDNetConfig(embed_dim=64, depths=(1, 2), in_chans=1, noise_level_map=True),
    "U-shaped": MaIRUNetConfig(dim=24, num_blocks=(1, 1, 1, 1), num_refinement_blocks=1),
}


class _LiveBytes(TorchDispatchMode):
    """Bytes of the tensors that are alive, but for those of `known`, and their peak."""

    def __init__(self, known: list[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self._seen = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in self._seen:
                self._add(tensor.untyped_storage())
        self.peak = max(self.peak, self.live)
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        self._seen.add(key)
        self.live += size

        def gone() -> None:
            self.live -= size
            self._seen.discard(key)

        weakref.finalize(storage, gone)


@pytest.mark.parametrize("name", CONFIGS)
def test_memory_that_is_planned_is_what_restoring_takes(name: str) -> None:
    network, side = build_network(CONFIGS[name]), 64
    image = torch.rand(1, 3, side, side)
    with torch.inference_mode():
        told = known_levels(network.config, 0.1, 0.1)
        network(image, **told)  # orders are kept from here on
        with _LiveBytes([image, *network.parameters(), *network.buffers()]) as memory:
            network(image, **told)
    assert 0.4 <= memory.peak / (network.memory_per_pixel * side**2) <= 1


@pytest.mark.parametrize("name", CONFIGS)
def test_a_state_dict_is_recognised_by_its_network_alone_and_tells_its_settings(name: str) -> None:
    config = CONFIGS[name]
    with torch.device("meta"):
        network = build_network(config)
    state = network.state_dict()
    (kind,) = (kind for kind in NETWORKS if kind.recognises(state))
    assert isinstance(network, kind)
    settings = kind.infer_settings(state)
    if network.stripe is not None:
        settings["scan_len"] = network.stripe
    assert config_from_mapping(settings) == config


@pytest.mark.parametrize(("stripe", "align"), [(3, 6), (4, 8), (8, 16)])
def test_tiles_are_aligned_to_pairs_of_stripes_and_to_what_the_network_needs(stripe: int, align: int) -> None:
    with torch.device("meta"):
        assert build_network(MaIRConfig(depths=(1,), scan_len=stripe)).align == align
        assert build_network({**CONFIGS["U-shaped"].to_mapping(), "scan_len": stripe}).align == max(align, 8)
        assert build_network(CONFIGS["MambaIR"]).align == 1


def test_a_mistyped_setting_is_named_with_the_nearest_known_one() -> None:
    with pytest.raises(UsageError, match=r"'embed_dims'; did you mean 'embed_dim'"):
        config_from_mapping({"embed_dims": 60})


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"d_state": True}, "'d_state' is True: expected int, got bool"),
        ({"ssm_ratio": "wide"}, "'ssm_ratio' is 'wide': expected float, got str"),
        ({"ssm_ratio": float("nan")}, "'ssm_ratio' is nan: expected float > 0"),
        ({"depths": [2, 0]}, "'depths' .* expected int >= 1"),
        ({"aggregation": "mean"}, "'aggregation' is 'mean': it must be one of shuffle, sum"),
        ({"trunk": "vgg"}, "'trunk' is 'vgg'; it must be one of span, ffdnet"),
        ({"trunk": "ffdnet", "upscale": 2, "upsampler": "pixelshuffle"}, "'upscale' is 2; it must be 1"),
        ({"trunk": "ffdnet", "resi_connection": "3conv"}, "'resi_connection' is '3conv'; it must be 1conv"),
        ({"ssm_ratio": 0.001}, "'ssm_ratio' is 0.001"),
    ],
)
def test_a_setting_of_the_wrong_type_or_range_is_named_with_what_is_expected(
    settings: dict[str, object], reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        config_from_mapping(settings)


def test_settings_made_by_hand_are_checked_like_those_that_are_read() -> None:
    with pytest.raises(UsageError, match="upscale"):
        MaIRConfig(upscale=5)
    with pytest.raises(UsageError, match="num_blocks"):
        MaIRUNetConfig(num_blocks=(1, 1, 1, 0))


def test_a_gray_network_restores_each_channel_by_itself() -> None:
    network = build_network(MaIRConfig(depths=(1,), embed_dim=8, upscale=2, in_chans=1, noise_level_map=True))
    image, level = torch.rand(2, 3, 6, 8), torch.tensor([0.1, 0.3])
    with torch.inference_mode():
        whole = network(image, noise_level=level)
        assert whole.shape == (2, 3, 12, 16)
        for channel in range(3):
            alone = network(image[:, channel : channel + 1], noise_level=level)
            torch.testing.assert_close(whole[:, channel : channel + 1], alone)


def test_a_network_for_colours_refuses_gray_tensors_by_name() -> None:
    with pytest.raises(ValueError, match="3 channels, not 1"):
        build_network(MaIRConfig(depths=(1,), embed_dim=8, upscale=2))(torch.rand(1, 1, 8, 8))


def test_shapes_alone_do_not_load_the_compiler_of_torch() -> None:
    """It takes longer to import than all else that restoring a small picture needs, and checkpoints are checked so."""
    code = (
        "import sys, torch; from mair_cli.networks import MaIRConfig, MaIRUNetConfig, MambaIRConfig, build_network\n"
        "with torch.device('meta'):\n"
        "    [build_network(config()) for config in (MaIRConfig, MaIRUNetConfig, MambaIRConfig)]\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
