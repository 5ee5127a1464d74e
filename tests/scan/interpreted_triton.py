"""Run the Triton kernels in Triton's interpreter, on the CPU, and print how far they are from the reference, as JSON.

A process of its own, since Triton decides on its first import whether it interprets. Run by test_triton_scan.py.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from functools import partial

os.environ["TRITON_INTERPRET"] = "1"

import torch
from scan_cases import ScanCase, differences, scan_inputs

from mair_cli.scan.dispatch import selective_scan
from mair_cli.scan.gpu.triton_scan import BACKEND, DEFAULT_TILING, Tiling, scan_tiled
from mair_cli.scan.inputs import ScanInputs

SMALL = Tiling(forward_chunk=4, backward_chunk=2, block=4, carry_tile=2)


def _extreme() -> ScanInputs:
    inputs = scan_inputs(ScanCase(1, 2, 2, 4, 1, 1))
    return replace(inputs, dt_bias=torch.linspace(-60, 60, 16).view(4, 4), A=inputs.A * 50)


def _strided() -> ScanInputs:
    """Every tensor as a view that is not contiguous."""
    inputs = scan_inputs(ScanCase(2, 1, 3, 3, 2, 1))
    return ScanInputs(*(t.transpose(0, -1).contiguous().transpose(0, -1) for t in inputs))


def _half() -> ScanInputs:
    """As under autocast: pixels in bfloat16, parameters in float32."""
    inputs = scan_inputs(ScanCase(1, 2, 2, 4, 1, 1))
    return replace(inputs, u=inputs.u.bfloat16(), projections=inputs.projections.bfloat16())


def main(slow: bool) -> dict[str, object]:
    small = partial(scan_tiled, tiling=SMALL)
    found: dict[str, object] = {
        "status": BACKEND.unavailable(),
        "one pixel": differences(small, scan_inputs(ScanCase(1, 1, 1, 3, 2, 1))),
        "odd sizes, two blocks": differences(small, scan_inputs(ScanCase(1, 1, 5, 5, 2, 3))),
        "whole chunks and blocks": differences(small, scan_inputs(ScanCase(1, 2, 4, 4, 1, 2))),
        "extreme steps and rates": differences(small, _extreme()),
        "strided inputs, two images": differences(small, _strided()),
        "bfloat16": differences(small, _half()),
        "bfloat16 type": str(small(_half()).dtype),
    }
    if slow:
        everything = partial(scan_tiled, tiling=DEFAULT_TILING)
        found["default tiling"] = differences(everything, scan_inputs(ScanCase(1, 5, 7, 33, 1, 2)))
        found["many states"] = differences(small, scan_inputs(ScanCase(1, 1, 5, 4, 32, 5)))
        inputs = scan_inputs(ScanCase(1, 2, 3, 3, 2, 1))
        found["through the dispatch"] = differences(partial(selective_scan, backend="triton"), inputs)
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(slow="--slow" in sys.argv)))
