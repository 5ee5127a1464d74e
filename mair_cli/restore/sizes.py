"""How large a result is to be where that is not simply a network's scale: whole numbers only, free of torch."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from mair_cli.errors import UsageError

MOST: Final = 16
"""Most that a picture is enlarged: ×4 twice over."""

NETWORK_SCALES: Final = (2, 3, 4)
"""What one network enlarges at a time."""

_WANTED = "a width such as 1920x, a height such as x1080, a box such as 1920x1080, or a share such as 150%"
_SHARE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*%")
_PIXELS = re.compile(r"(?P<width>[1-9]\d{0,6})?(?:[x×](?P<height>[1-9]\d{0,6})?)?", re.IGNORECASE)


@dataclass(frozen=True)
class TargetSize:
    """A factor, or pixels; of two numbers of pixels a box into which the picture is fitted.

    Attributes:
        factor: result over input.
        width: pixels; None leaves it to the height.
        height: pixels; None leaves it to the width.
    """

    factor: Fraction | None = None
    width: int | None = None
    height: int | None = None

    @classmethod
    def parse(cls, text: str) -> TargetSize:
        """From `1920` or `1920x`, `x1080`, `1920x1080`, `150%`; raises UsageError."""
        value = text.strip()
        share = _SHARE.fullmatch(value)
        if share is not None:
            factor = Fraction(share[1]) / 100
            if not 0 < factor <= MOST:
                raise UsageError(f"`size` {text}: give more than 0 % and at most {100 * MOST} %.")
            return cls(factor=factor)
        found = _PIXELS.fullmatch(value)
        if found is None or not (found["width"] or found["height"]):
            raise UsageError(f"`size` {text}: give {_WANTED}.")
        return cls(width=_whole(found["width"]), height=_whole(found["height"]))

    def __str__(self) -> str:
        """As it stands in names of results: `x1.5`, `1920x`, `x1080`, `1920x1080`."""
        if self.factor is not None:
            return f"x{float(self.factor):g}"
        return f"{self.width or ''}x{self.height or ''}"

    def of(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the result for a picture's; the shape is kept to the nearest pixel, at least 1."""
        ratio = self.ratio(width, height)
        return max(1, _nearest(width * ratio)), max(1, _nearest(height * ratio))

    def ratio(self, width: int, height: int) -> Fraction:
        """Result over input."""
        if self.factor is not None:
            return self.factor
        ratios = [Fraction(asked, have) for asked, have in ((self.width, width), (self.height, height)) if asked]
        return min(ratios)


def passes(ratio: Fraction, scales: Iterable[int]) -> tuple[int, ...]:
    """Which networks enlarge a picture at least `ratio` times: one, or two where none of `scales` reaches that far.

    Of those that do, the ones that enlarge least; of equals first the smaller, since what the second does costs more
    pixels. Raises UsageError where two do not reach either.
    """
    known = sorted(set(scales))
    for one in known:
        if one >= ratio:
            return (one,)
    pairs = [pair for pair in itertools.combinations_with_replacement(known, 2) if math.prod(pair) >= ratio]
    if not pairs:
        raise UsageError(f"×{float(ratio):.3g} is more than ×{max(known)} twice over enlarges: ask for less.")
    return min(pairs, key=lambda pair: (math.prod(pair), pair))


def _whole(text: str | None) -> int | None:
    return None if text is None else int(text)


def _nearest(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))
