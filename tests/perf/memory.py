"""How much memory enlarging a large image takes beyond the result itself.

    python tests/perf/memory.py [--size 4000x3000] [--scale 4] [--tile auto] [--stand-in]

With `--stand-in` a network that repeats pixels shows in seconds what tiling and blending keep; without it the tiny
network runs with random weights, which takes many minutes for twelve megapixels on a small machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from mair_cli.benchmark.peak_memory import PeakMemory
from mair_cli.networks import MaIR, MaIRConfig, build_network
from mair_cli.restore.restorer import Restorer
from mair_cli.weights.checkpoint import save_checkpoint

LIMIT = 3 * 2**30
"""Bytes beyond the result's own that the largest benchmark may take."""


class Repeat(MaIR):
    """Repeats pixels: nearly free, and the right shape."""

    def forward(self, image: Tensor, noise_level: object = None, jpeg_level: object = None) -> Tensor:
        """(B, 3, H, W) → (B, 3, H·scale, W·scale)."""
        return image.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)


def tiny_restorer(scale: int, tile: str, stand_in: bool) -> Restorer:
    """The tiny network with random weights; for `stand_in`, pixels are repeated in its place."""
    config = MaIRConfig(upscale=scale)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.safetensors"
        save_checkpoint(path, build_network(config).state_dict(), config, {})
        restorer = Restorer(weights=path, tile="auto" if tile == "auto" else int(tile))
    if stand_in:
        restorer.network = Repeat(config)
    return restorer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="4000x3000", help="width × height of the input")
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--tile", default="auto")
    parser.add_argument("--stand-in", action="store_true", help="repeat pixels instead of running the network")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.lower().split("x"))
    restorer = tiny_restorer(arguments.scale, arguments.tile, arguments.stand_in)
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    restorer(image[:64, :64])  # compiles, and loads what is loaded once
    before = _resident()
    start = time.perf_counter()
    with PeakMemory(torch.device("cpu")) as peak, Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("tiles")
        result = restorer(image, progress=lambda done, total: bar.update(task, completed=done, total=total))
    seconds = time.perf_counter() - start
    beyond = (peak.bytes or 0) - before - result.nbytes
    Console(soft_wrap=True).print(
        f"{width}×{height} ×{arguments.scale} on {restorer.device}: {seconds:.0f} s,"
        f" result {result.nbytes / 2**20:.0f} MiB, peak beyond it {beyond / 2**20:.0f} MiB"
        f" (limit {LIMIT / 2**20:.0f} MiB)"
    )
    if beyond > LIMIT:
        raise SystemExit(1)


def _resident() -> int:
    with Path("/proc/self/status").open() as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))


if __name__ == "__main__":
    main()
