"""Names of the precisions, free of torch: they are asked for before anything heavy is loaded."""

from __future__ import annotations

from mair_cli.errors import UsageError

PRECISIONS = ("fp32", "bf16", "fp16")


def check_precision_name(precision: str) -> None:
    """Raise UsageError for an unknown precision."""
    if precision not in PRECISIONS:
        raise UsageError(f"`precision` {precision}: choose {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}.")
