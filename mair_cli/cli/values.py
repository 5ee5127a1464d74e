"""Values of options: words and numbers as typed, and what does not go together."""

from __future__ import annotations

import os
from collections.abc import Callable
from decimal import Decimal
from typing import Literal, cast

from mair_cli.errors import UsageError
from mair_cli.restore.settings import MAX_SIGMA, SMALLEST_TILE, Jpeg, Sigma
from mair_cli.restore.sizes import MOST, TargetSize


def parse_tile(value: str) -> int | Literal["auto"]:
    """`auto`, or the side of a tile in input pixels; 0 stands for the whole image. Raises UsageError."""
    wanted = f"auto, {SMALLEST_TILE} or more pixels, or 0 for the whole image"
    return cast("int | Literal['auto']", _word_or_number(value, "--tile", int, wanted, "auto"))


def parse_scale(scale: str | None, size: str | None) -> dict[str, int | str]:
    """The settings `scale` or `size` for two options: a whole scale that networks have, or any other size.

    Raises UsageError.
    """
    if scale is not None and size is not None:
        raise UsageError("--scale and --size exclude each other: give only one.")
    if size is not None:
        target = TargetSize.parse(size)
        whole = target.factor in (2, 3, 4)
        return {"scale": int(target.factor)} if whole and target.factor is not None else {"size": size}
    if scale is None:
        return {}
    wanted = f"a number above 0 and at most {MOST}, such as 2, 3, 4 or 1.5"
    factor = cast("float", _word_or_number(scale.strip().lower().strip("x×"), "--scale", float, wanted))
    if not 0 < factor <= MOST:
        raise UsageError(f"--scale {scale}: give {wanted}.")
    return {"scale": int(factor)} if factor in (2, 3, 4) else {"size": f"{Decimal(repr(factor)) * 100:f}%"}


def parse_sigma(value: str | None) -> Sigma | None:
    """The noise level of 255, `auto`, or None where nothing was given. Raises UsageError."""
    if value is None:
        return None
    return cast("Sigma", _word_or_number(value, "--sigma", float, f"a number from 0 to {MAX_SIGMA:g}, or auto", "auto"))


def parse_jpeg(value: str) -> Jpeg:
    """A JPEG quality, `auto` or `off`. Raises UsageError."""
    return cast("Jpeg", _word_or_number(value, "--jpeg", int, "a quality from 1 to 100, auto or off", "auto", "off"))


def _word_or_number(value: str, flag: str, number: Callable[[str], object], wanted: str, *words: str) -> object:
    """The value as a number or one of `words`, in whatever capitals."""
    if value.strip().lower() in words:
        return value.strip().lower()
    try:
        return number(value)
    except ValueError:
        raise UsageError(f"{flag} {value}: give {wanted}.") from None


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
