"""How fast the U-shaped networks run on this CPU, per multiply-add, beside the denoising network.

    python tests/perf/unet_speed.py [--threads N] [--repeats N] [--side 128]

One tile each, by the inference form, as `mair deblur` runs it. Multiply-adds are those of matrix products and
convolutions; what the scan costs on top is part of the seconds. The networks take turns, so that what else the machine
does falls on all of them alike. The ratio is to the time that those multiply-adds take in a large matrix product.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mair_cli.inference.form import inference_form
from mair_cli.networks import build_network
from mair_cli.weights.catalog import find

NAMES = ("mair-cdn-s25", "mair-motiondeblur", "mair-dh-its")
"""The first is what the others are compared with."""


def multiply_adds(network: nn.Module, tile: Tensor) -> float:
    """Of one run, in units of 10⁹."""
    with FlopCounterMode(display=False) as counter:
        network(tile)
    return float(counter.get_total_flops()) / 2e9


def seconds(network: Callable[[Tensor], Tensor], tile: Tensor) -> float:
    """Of one run."""
    began = time.perf_counter()
    network(tile)
    return time.perf_counter() - began


def product_rate() -> float:
    """Multiply-adds per second of a 1024×1024 matrix product."""
    matrix = torch.randn(1024, 1024)
    return 1024**3 / min(seconds(lambda x: x @ x, matrix) for _ in range(20))


def main() -> None:
    """Measure and show a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--side", type=int, default=128)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    tile = torch.rand(1, 3, arguments.side, arguments.side)
    networks = {name: build_network(find(name).config) for name in NAMES}
    with torch.inference_mode():
        work = {name: multiply_adds(network, tile) for name, network in networks.items()}
        best, product = dict.fromkeys(NAMES, float("inf")), 0.0
        forms = {name: inference_form(network) or network for name, network in networks.items()}
        for form in forms.values():
            form(tile)
        for _ in range(arguments.repeats):
            for name, form in forms.items():
                best[name] = min(best[name], seconds(form, tile))
            product = max(product, product_rate())
    table = Table("network", "s", "10⁹ multiply-adds", "ms per 10⁹", f"against {NAMES[0]}", "ratio to products")
    rate = {name: best[name] / work[name] for name in NAMES}
    for name in NAMES:
        row = [
            f"{best[name]:.2f}",
            f"{work[name]:.1f}",
            f"{1000 * rate[name]:.1f}",
            f"{rate[name] / rate[NAMES[0]]:.2f}",
            f"{rate[name] * product / 1e9:.2f}",
        ]
        table.add_row(name, *row)
    Console().print(f"torch {torch.__version__}, {arguments.threads} threads", table)


if __name__ == "__main__":
    main()
