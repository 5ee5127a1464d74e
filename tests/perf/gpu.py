"""Check and time every scan back end on a GPU. Builds and installs nothing; in a checkout, on a machine with CUDA:

    PYTHONPATH=.:tests/scan python tests/perf/gpu.py

Prints what there is, differences from the reference (in float64), times of the scan alone, of whole networks and of
training steps; `--tilings` times other tilings of the Triton kernels. Exits with 1 if a difference is out of bounds.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from scan_cases import ScanCase, differences, scan_inputs
from torch import Tensor, nn

from mair_cli.networks import build_network, set_backend
from mair_cli.scan.dispatch import backend_status, selective_scan
from mair_cli.scan.gpu.triton_scan import DEFAULT_TILING, Tiling, scan_tiled
from mair_cli.scan.inputs import ScanInputs
from mair_cli.weights.catalog import MODELS

PARITY = {
    "one pixel": ScanCase(1, 1, 1, 5, 1, 1),
    "odd sizes": ScanCase(2, 13, 11, 66, 3, 4),
    "tiny": ScanCase(1, 64, 64, 66, 1, 4),
    "classic": ScanCase(1, 40, 40, 360, 16, 12),
    "32 states": ScanCase(2, 17, 16, 768, 32, 24),
}
NETWORKS = {"tiny x4": "mair-t-x4", "small x4": "mair-s-x4", "classic x4": "mair-sr-x4", "denoising": "mair-cdn-s25"}
SCANS = {
    "tiny": ScanCase(1, 64, 64, 66, 1, 4),
    "small": ScanCase(1, 64, 64, 84, 16, 4),
    "classic": ScanCase(1, 64, 64, 360, 16, 12),
    "denoising": ScanCase(1, 64, 64, 234, 16, 12),
}
Y_BOUND = 1e-6  # relative to the largest element, as the next
GRADIENT_BOUND = 1e-5
NETWORK_BOUND = 1e-4  # absolute, in fp32


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """Median time on the GPU of one call, after two that compile and warm up."""
    call(), call()
    times = []
    for _ in range(repeats):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return float(statistics.median(times))


def usable_backends() -> list[str]:
    say(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}")
    found = []
    for name in ("mamba-ssm", "triton"):
        obstacle = backend_status(name)
        say(f"{name}: {'usable' if obstacle is None else obstacle}")
        if obstacle is None:
            found.append(name)
    return found


def with_backend(name: str) -> Callable[[ScanInputs], Tensor]:
    return partial(selective_scan, backend=name)


def check_parity(backends: list[str]) -> bool:
    say(f"\n{'difference':<12}{'back end':<12}{'y':>10}{'worst gradient':>24}")
    good = True
    for (label, case), name in itertools.product(PARITY.items(), backends):
        found = differences(with_backend(name), scan_inputs(case, "cuda"))
        y = found.pop("y")
        worst = max(found, key=lambda key: found[key])
        within = y <= Y_BOUND and found[worst] <= GRADIENT_BOUND
        good &= within
        say(f"{label:<12}{name:<12}{y:>10.1e}{found[worst]:>12.1e} {worst:<12}{'' if within else 'OUT OF BOUNDS'}")
    inputs = scan_inputs(PARITY["classic"], "cuda")
    for name in backends:
        equal = torch.equal(with_backend(name)(inputs), with_backend(name)(inputs))
        say(f"{name}: two runs give {'the same bits' if equal else 'different bits'}")
    return good


def scan_times(scan: Callable[[ScanInputs], Tensor], case: ScanCase, repeats: int) -> tuple[float, float]:
    """Milliseconds forward, and forward plus backward."""
    inputs = scan_inputs(case, "cuda")
    with torch.inference_mode():
        forward = milliseconds(lambda: scan(inputs), repeats)
    leaves = [tensor.requires_grad_() for tensor in inputs if tensor.is_floating_point()]
    grad = torch.randn_like(scan(inputs))
    both = milliseconds(lambda: torch.autograd.grad(scan(inputs), leaves, grad), repeats)
    return forward, both


def time_scans(backends: list[str], batches: list[int], repeats: int) -> None:
    say(f"\n{'scan, 64x64':<14}{'batch':>6} {'back end':<12}{'forward ms':>12}{'with backward':>15}")
    for (label, case), batch, name in itertools.product(SCANS.items(), batches, backends):
        forward, both = scan_times(with_backend(name), case._replace(batch=batch), repeats)
        say(f"{label:<14}{batch:>6} {name:<12}{forward:>12.3f}{both:>15.3f}")


@contextmanager
def precision(name: str) -> Iterator[None]:
    """fp32, tf32 (matrix products and convolutions only), or bf16 by autocast."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest" if name == "fp32" else "high")
    torch.backends.cudnn.allow_tf32 = name != "fp32"
    try:
        with torch.autocast("cuda", torch.bfloat16, enabled=name == "bf16"):
            yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build_network(MODELS[NETWORKS[name]].config).cuda()


def time_networks(backends: list[str], batches: list[int], repeats: int) -> bool:
    columns = f"{'ms':>10}{'ms/image':>10}{'difference':>12}{'GiB':>7}"
    say(f"\n{'network, 64x64':<16}{'batch':>6} {'':<6}{'back end':<12}{columns}")
    good = True
    for label in NETWORKS:
        net = network(label)
        images = torch.rand(max(batches), 3, 64, 64, generator=torch.Generator().manual_seed(1)).cuda()
        with torch.inference_mode(), precision("fp32"):
            set_backend(net, "reference")
            exact = net(images[:1])
        for batch, kind, name in itertools.product(batches, ("fp32", "tf32", "bf16"), backends):
            set_backend(net, name)
            torch.cuda.reset_peak_memory_stats()
            with torch.inference_mode(), precision(kind):
                far = float((net(images[:batch])[:1] - exact).abs().max())
                elapsed = milliseconds(partial(net, images[:batch]), repeats)
            good &= kind != "fp32" or far <= NETWORK_BOUND
            gib = torch.cuda.max_memory_allocated() / 2**30
            figures = f"{elapsed:>10.2f}{elapsed / batch:>10.2f}{far:>12.1e}{gib:>7.2f}"
            say(f"{label:<16}{batch:>6} {kind:<6}{name:<12}{figures}")
    return good


def time_training(backends: list[str], repeats: int) -> None:
    """Forward and backward of 64x64 patches, as published for super-resolution; batches that fit a card of 16 GiB."""
    say(f"\n{'training, 64x64':<16}{'batch':>6} {'':<6}{'back end':<12}{'ms/step':>10}{'GiB':>7}")
    for (label, batch), kind, name in itertools.product(
        {"tiny x4": 32, "small x4": 8, "classic x4": 2}.items(), ("fp32", "bf16"), backends
    ):
        net = network(label).train()
        set_backend(net, name)
        x = torch.rand(batch, 3, 64, 64).cuda()

        def step(net: nn.Module = net, x: Tensor = x) -> None:
            net.zero_grad()
            net(x).float().abs().mean().backward()

        torch.cuda.reset_peak_memory_stats()
        with precision(kind):
            elapsed = milliseconds(step, max(repeats // 4, 3))
        gib = torch.cuda.max_memory_allocated() / 2**30
        say(f"{label:<16}{batch:>6} {kind:<6}{name:<12}{elapsed:>10.1f}{gib:>7.2f}")


def time_tilings(repeats: int) -> None:
    columns = f"{'chunks':>8}{'block':>7}{'tile':>6}{'forward ms':>12}{'with backward':>15}"
    say(f"\n{'Triton tilings':<16}{'batch':>6} {columns}")
    for (label, case), batch in itertools.product(SCANS.items(), (1, 16)):
        for forward_chunk, backward_chunk, block, tile in [
            DEFAULT_TILING,
            (16, 8, 32, 32),
            (16, 16, 32, 16),
            (32, 8, 32, 16),
            (64, 32, 32, 32),
            (32, 16, 64, 32),
            (16, 8, 64, 16),
        ]:
            tiling = Tiling(forward_chunk, backward_chunk, block, tile)
            forward, both = scan_times(partial(scan_tiled, tiling=tiling), case._replace(batch=batch), repeats)
            chunks = f"{forward_chunk}/{backward_chunk}"
            say(f"{label:<16}{batch:>6} {chunks:>8}{block:>7}{tile:>6}{forward:>12.3f}{both:>15.3f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--tilings", action="store_true", help="also time other tilings of the Triton kernels")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        say("No CUDA device: nothing to measure here.")
        return 0
    backends = usable_backends()
    good = check_parity(backends)
    time_scans(backends, options.batches, options.repeats)
    good &= time_networks(backends, options.batches, options.repeats)
    time_training(backends, options.repeats)
    if options.tilings and "triton" in backends:
        time_tilings(options.repeats)
    say("\nAll within bounds." if good else "\nSOMETHING IS OUT OF BOUNDS.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
