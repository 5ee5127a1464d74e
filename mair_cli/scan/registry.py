"""The table of back ends: one row each. Free of torch, so that their names are at hand before anything heavy is."""

from __future__ import annotations

from typing import Final

MODULES: Final[dict[str, str]] = {
    "mamba-ssm": "mair_cli.scan.gpu.mamba_ssm_scan",
    "triton": "mair_cli.scan.gpu.triton_scan",
    "numba": "mair_cli.scan.cpu.numba_scan",
    "reference": "mair_cli.scan.reference",
}
"""Name of each back end, and the module whose `BACKEND` it is."""

BACKENDS: Final = tuple(MODULES)
"""Their names; `auto` takes the one that ranks first for the tensors' device and works."""
