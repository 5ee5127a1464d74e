"""How fast the networks run on this CPU, compared with what their matrix products alone would take.

    python tests/perf/speed.py [--networks tiny-x4 classic-x4] [--threads N] [--training]

Seconds differ between machines and moments, so each network's time is divided by the time that its multiply-adds would
take at the rate of a large matrix product, measured in the same run, just before and after. A ratio of 1 would mean
that nothing but matrix products costs time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from rich.console import Console
from rich.table import Table

from mair_cli.inference.form import inference_form
from mair_cli.networks import MaIRConfig, build_network


@dataclass(frozen=True)
class Case:
    """A network on one 64×64 tile."""

    config: MaIRConfig
    gflop: float
    """Floating-point operations of its matrix products and convolutions, two per multiply-add."""
    bound: float
    published_seconds: float
    """The published code, with its plain loop on a CPU, on two cores with AVX2."""


Head = Literal["pixelshuffle", "pixelshuffledirect"] | None


def _config(
    upscale: int, width: int, groups: int, states: int, ssm_ratio: float, mlp_ratio: float, head: Head, stripe: int
) -> MaIRConfig:
    return MaIRConfig(
        upscale=upscale,
        embed_dim=width,
        depths=(6,) * groups,
        d_state=states,
        ssm_ratio=ssm_ratio,
        mlp_ratio=mlp_ratio,
        upsampler=head,
        scan_len=stripe,
    )


CASES = {
    "tiny-x4": Case(_config(4, 60, 4, 1, 1.1, 1.6, "pixelshuffledirect", 8), 6.58, 3.0, 7.0),
    "small-x4": Case(_config(4, 60, 4, 16, 1.4, 1.6, "pixelshuffledirect", 4), 9.32, 3.8, 28.9),
    "classic-x4": Case(_config(4, 180, 6, 16, 2.0, 2.5, "pixelshuffle", 8), 148.6, 2.0, 164.9),
    "denoise": Case(_config(1, 180, 6, 16, 1.3, 2.0, None, 4), 105.1, 1.9, 109.8),
}


def best(function: Callable[[], object], repeats: int) -> float:
    """Shortest of several runs, in seconds; one run before them warms up."""
    function()
    shortest = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        shortest = min(shortest, time.perf_counter() - start)
    return shortest


def gemm_rate() -> float:
    """GFLOP/s of a 1024×1024 matrix product."""
    matrix = torch.randn(1024, 1024)
    return 2 * 1024**3 / best(lambda: matrix @ matrix, 20) / 1e9


def measure_inference(names: list[str], repeats: int) -> Table:
    """One row per network."""
    table = Table("network", "s", "GFLOP/s of a matrix product", "ratio", "bound", "published code, s")
    for name in names:
        case = CASES[name]
        network = build_network(case.config).eval()
        form = inference_form(network) or network
        tile = torch.rand(1, 3, 64, 64)
        with torch.inference_mode():
            before = gemm_rate()
            seconds = best(partial(form, tile), repeats)
            rate = max(before, gemm_rate())
        ratio = seconds * rate / case.gflop
        row = [f"{seconds:.3f}", f"{rate:.0f}", f"{ratio:.2f}", f"{case.bound}", f"{case.published_seconds}"]
        table.add_row(name, *row)
    return table


def measure_training() -> Table:
    """Seconds of one training step: tiny ×4, batch 8 of 32×32, forward, backward and AdamW."""
    network = build_network(CASES["tiny-x4"].config).train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)
    image, target = torch.rand(8, 3, 32, 32), torch.rand(8, 3, 128, 128)

    def step() -> None:
        optimizer.zero_grad()
        (network(image) - target).abs().mean().backward()
        optimizer.step()

    seconds = best(step, 5)
    with torch.profiler.profile() as profile:
        step()
    events = profile.key_averages()
    scan = sum(event.self_cpu_time_total for event in events if "Scan" in event.key)
    table = Table("training step", "s", "share of the scan")
    table.add_row(
        "tiny-x4, batch 8 of 32×32", f"{seconds:.2f}", f"{scan / sum(e.self_cpu_time_total for e in events):.0%}"
    )
    return table


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--training", action="store_true", help="also time a training step")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    console = Console()
    console.print(f"torch {torch.__version__}, {arguments.threads} threads, {torch.backends.cpu.get_cpu_capability()}")
    console.print(measure_inference(arguments.networks, arguments.repeats))
    if arguments.training:
        console.print(measure_training())


if __name__ == "__main__":
    main()
