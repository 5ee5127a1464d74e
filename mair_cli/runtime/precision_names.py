"""Names of the precisions, free of torch: they are asked for before anything heavy is loaded."""

from __future__ import annotations

from collections.abc import Sequence

from mair_cli.errors import UsageError

PRECISIONS = ("fp32", "bf16", "fp16")
CHOICES = ("auto", *PRECISIONS)
"""What may be asked for: "auto" becomes one of the others once network and device are known."""


def check_precision_name(precision: str, known: Sequence[str] = PRECISIONS) -> None:
    """Raise UsageError for a precision that is none of those `known`."""
    if precision not in known:
        raise UsageError(f"`precision` {precision}: choose {', '.join(known[:-1])} or {known[-1]}.")
