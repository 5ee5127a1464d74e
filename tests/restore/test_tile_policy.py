"""The choice of tiles: by memory, by what is fast, and never more than the image needs."""

from __future__ import annotations

import pytest
import torch

from mair_cli.networks import MaIRConfig, MaIRUNetConfig, NetworkConfig, build_network
from mair_cli.networks.network import Network
from mair_cli.restore.settings import SMALLEST_TILE
from mair_cli.restore.tile_policy import TileChoice, choose_tile

GIB = 2**30
TINY = MaIRConfig()
CLASSIC = MaIRConfig(embed_dim=180, depths=(6,) * 6, d_state=16, ssm_ratio=2.0, mlp_ratio=2.5, upsampler="pixelshuffle")


def network(config: NetworkConfig) -> Network:
    with torch.device("meta"):
        return build_network(config)


def memory_per_pixel(config: NetworkConfig) -> int:
    return network(config).memory_per_pixel


def choose(height: int, width: int, free: int, config: NetworkConfig = TINY, on_cpu: bool = True) -> TileChoice:
    side = network(config).side_on_cpu if on_cpu else None
    return choose_tile(height, width, bytes_per_pixel=memory_per_pixel(config), free=free, side_on_cpu=side)


def test_a_small_image_is_one_tile() -> None:
    assert choose(100, 120, 8 * GIB) == TileChoice(0, 1)


def test_a_large_image_is_cut_although_memory_would_do() -> None:
    assert 64 <= choose(3000, 4000, 500 * GIB).tile <= 512


@pytest.mark.parametrize("config", [TINY, CLASSIC, MaIRUNetConfig()])
@pytest.mark.parametrize("free", [GIB // 4, GIB, 8 * GIB, 64 * GIB])
@pytest.mark.parametrize("on_cpu", [True, False])
def test_tiles_of_a_call_fit_the_free_memory(config: NetworkConfig, free: int, on_cpu: bool) -> None:
    choice = choose(3000, 4000, free, config, on_cpu)
    assert choice.tile**2 * choice.batch * memory_per_pixel(config) <= free


def test_the_u_shaped_network_sees_what_it_was_trained_on() -> None:
    assert choose(256, 256, 64 * GIB, MaIRUNetConfig()) == TileChoice(0, 1)
    assert choose(3000, 4000, 64 * GIB, MaIRUNetConfig()).tile == 256
    assert choose(256, 256, 64 * GIB, CLASSIC).tile == 160


def test_with_hardly_any_memory_the_smallest_tile_is_tried() -> None:
    assert choose(500, 500, 1000).tile == SMALLEST_TILE
    assert choose(500, 500, 0).tile == SMALLEST_TILE


def test_only_a_gpu_runs_several_tiles_at_once() -> None:
    assert choose(3000, 4000, 80 * GIB).batch == 1
    assert choose(3000, 4000, 80 * GIB, on_cpu=False).batch > 1


def test_a_given_side_is_kept_and_filled_into_batches_on_a_gpu_only() -> None:
    for side in (0, 64):
        choice = choose_tile(500, 500, bytes_per_pixel=5000, free=80 * GIB, side_on_cpu=160, side=side)
        assert choice == TileChoice(side, 1)
    assert choose_tile(500, 500, bytes_per_pixel=5000, free=80 * GIB, side_on_cpu=None, side=64).batch > 1
    assert choose_tile(500, 500, bytes_per_pixel=5000, free=80 * GIB, side_on_cpu=None, side=0).batch == 1


def test_larger_networks_are_known_to_need_more() -> None:
    assert memory_per_pixel(TINY) < memory_per_pixel(CLASSIC)
    assert memory_per_pixel(MaIRUNetConfig(dim=24)) < memory_per_pixel(MaIRUNetConfig(dim=48))
