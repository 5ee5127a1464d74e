"""Values of options: words and numbers as typed, and what does not go together."""

from __future__ import annotations

import math
import os
from decimal import Decimal

from mair_cli.errors import UsageError
from mair_cli.restore.sizes import MOST, NETWORK_SCALES, TargetSize


def parse_scale(scale: str | None, size: str | None) -> dict[str, int | str]:
    """The settings `scale` or `size` for two options: a whole scale that networks have, or any other size.

    Raises UsageError.
    """
    if scale is not None and size is not None:
        raise UsageError("--scale and --size exclude each other: give only one.")
    if size is not None:
        share = TargetSize.parse(size).factor
        return {"size": size} if share is None or share not in NETWORK_SCALES else {"scale": int(share)}
    if scale is None:
        return {}
    try:
        factor = float(scale.strip().lower().strip("x×"))
    except ValueError:
        factor = math.nan
    if not 0 < factor <= MOST:
        raise UsageError(f"--scale {scale}: give a number above 0 and at most {MOST}, such as 2, 3, 4 or 1.5.")
    return {"scale": int(factor)} if factor in NETWORK_SCALES else {"size": f"{Decimal(repr(factor)) * 100:f}%"}


def check_choice(flag: str, value: str, choices: tuple[str, ...]) -> str:
    """The value, if it is among the choices.

    Raises:
        UsageError: it is not; names the flag and the choices.
    """
    if value not in choices:
        raise UsageError(f"{flag} {value}: choose {', '.join(choices[:-1])} or {choices[-1]}.")
    return value


def check_exclusive(**given: bool) -> None:
    """Refuse options that contradict each other.

    Args:
        given: for each option, under its name with underscores, whether it was given.

    Raises:
        UsageError: more than one was given.
    """
    flags = [f"--{name.replace('_', '-')}" for name, present in given.items() if present]
    if len(flags) > 1:
        raise UsageError(f"{' and '.join(flags)} exclude each other: give only one.")


def go_offline(wanted: bool) -> None:
    """Forbid network connections in this process when `--offline` was given."""
    if wanted:
        os.environ["MAIR_OFFLINE"] = "1"
