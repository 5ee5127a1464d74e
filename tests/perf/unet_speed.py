"""How fast the U-shaped networks run on this CPU, per multiply-add, beside the denoising network.

    python tests/perf/unet_speed.py [--threads N] [--repeats N]

One 128×128 tile each. Multiply-adds are those of matrix products and convolutions; what the scan costs on top is part
of the seconds. The networks take turns, so that what else the machine does falls on all of them alike.
"""

from __future__ import annotations

import argparse
import time

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mair_cli.networks import build_network
from mair_cli.weights.catalog import find

NAMES = ("mair-cdn-s25", "mair-motiondeblur", "mair-dh-its")
"""The first is what the others are compared with."""


def multiply_adds(network: nn.Module, tile: Tensor) -> float:
    """Of one run, in units of 10⁹."""
    with FlopCounterMode(display=False) as counter:
        network(tile)
    return float(counter.get_total_flops()) / 2e9


def seconds(network: nn.Module, tile: Tensor) -> float:
    """Of one run."""
    began = time.perf_counter()
    network(tile)
    return time.perf_counter() - began


def main() -> None:
    """Measure and show a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    tile = torch.rand(1, 3, 128, 128)
    networks = {name: build_network(find(name).config) for name in NAMES}
    with torch.inference_mode():
        work = {name: multiply_adds(network, tile) for name, network in networks.items()}
        best = dict.fromkeys(NAMES, float("inf"))
        for _ in range(arguments.repeats):
            for name, network in networks.items():
                best[name] = min(best[name], seconds(network, tile))
    table = Table("network", "s", "10⁹ multiply-adds", "ms per 10⁹", f"against {NAMES[0]}")
    rate = {name: best[name] / work[name] for name in NAMES}
    for name in NAMES:
        row = [
            f"{best[name]:.2f}",
            f"{work[name]:.1f}",
            f"{1000 * rate[name]:.1f}",
            f"{rate[name] / rate[NAMES[0]]:.2f}",
        ]
        table.add_row(name, *row)
    Console().print(f"torch {torch.__version__}, {arguments.threads} threads", table)


if __name__ == "__main__":
    main()
