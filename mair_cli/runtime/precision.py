"""Arithmetic of a network: float32, or half-width floats where PyTorch's autocast finds them safe."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from mair_cli.errors import BackendError
from mair_cli.runtime.precision_names import check_precision_name

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def check_precision(precision: str, device: torch.device) -> None:
    """Raise UsageError for an unknown precision and BackendError for one that the device cannot compute in."""
    check_precision_name(precision)
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise BackendError(f"`precision` bf16: {device} cannot compute in bfloat16. Use fp16 or fp32.")


def arithmetic(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """A fresh context in which the network computes in `precision`; weights and results stay float32 outside."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=_HALF[precision])
