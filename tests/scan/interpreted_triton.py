"""Run the Triton kernels in Triton's interpreter, on the CPU, and print how far they are from the reference, as JSON.

A process of its own, since Triton decides on its first import whether it interprets. Run by test_triton_scan.py.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial

os.environ["TRITON_INTERPRET"] = "1"

import torch
from scan_cases import ScanCase, differences, scan_inputs
from torch import Tensor

from mair_cli.scan.dispatch import selective_scan
from mair_cli.scan.gpu import triton_scan
from mair_cli.scan.gpu.triton_scan import DEFAULT_TILING, Tiling, scan_tiled

SMALL = Tiling(forward_chunk=4, backward_chunk=2, block=4, carry_tile=2)


def _extreme() -> list[Tensor]:
    inputs = scan_inputs(ScanCase(1, 2, 2, 4, 1, 1))
    inputs[3] = torch.linspace(-60, 60, 16).view(4, 4)
    inputs[4] = inputs[4] * 50
    return inputs


def _strided() -> list[Tensor]:
    """Every tensor as a view that is not contiguous."""
    inputs = scan_inputs(ScanCase(2, 1, 3, 3, 2, 1))
    return [t.transpose(0, -1).contiguous().transpose(0, -1) for t in inputs]


def _half() -> list[Tensor]:
    """As under autocast: pixels in bfloat16, parameters in float32."""
    inputs = scan_inputs(ScanCase(1, 2, 2, 4, 1, 1))
    return [inputs[0].bfloat16(), inputs[1].bfloat16(), *inputs[2:]]


def main(slow: bool) -> dict[str, object]:
    small = partial(scan_tiled, tiling=SMALL)
    found: dict[str, object] = {
        "status": triton_scan.unavailable(),
        "one pixel": differences(small, scan_inputs(ScanCase(1, 1, 1, 3, 2, 1))),
        "odd sizes, two blocks": differences(small, scan_inputs(ScanCase(1, 1, 5, 5, 2, 3))),
        "whole chunks and blocks": differences(small, scan_inputs(ScanCase(1, 2, 4, 4, 1, 2))),
        "extreme steps and rates": differences(small, _extreme()),
        "strided inputs, two images": differences(small, _strided()),
        "bfloat16": differences(small, _half()),
        "bfloat16 type": str(small(*_half()).dtype),
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
