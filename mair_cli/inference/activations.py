"""What a step does to its results, as numbers that stand in programs."""

from __future__ import annotations

from typing import Final

NOTHING: Final = 0
SILU: Final = 1
GELU: Final = 2
LEAKY: Final = 3
"""Negative values times a slope."""
SLOPE: Final = 0.2
"""That slope, where nothing else is said."""
GATED: Final = 4
"""Of a result v with the residual x: (v + x) · (sigmoid(v) - 1/2), as SPAN's blocks end."""
