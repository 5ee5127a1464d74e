"""PSNR against time as an inline SVG: where things stand; `templates/plot.svg` draws them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mair_cli.benchmark.page import render

__all__ = ["Point", "Reference", "quality_time_plot"]

_LABEL_GAP = 14.0
_STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


@dataclass(frozen=True)
class Point:
    """A measured method: mean seconds per image (above 0) and mean PSNR."""

    label: str
    seconds: float
    psnr: float


@dataclass(frozen=True)
class Reference:
    """A published PSNR, whose time is unknown: a line across."""

    label: str
    psnr: float


class _PlotArea(NamedTuple):
    """The drawing's size, and the edges of the plot within it."""

    width: int = 860
    height: int = 380
    left: int = 60
    right: int = 670
    top: int = 20
    bottom: int = 332


def quality_time_plot(points: Sequence[Point], references: Sequence[Reference], unit: str) -> str:
    """An SVG: time on a logarithmic axis, PSNR upwards; "" where there is no finite point.

    Args:
        points: measured methods.
        references: published figures.
        unit: what the PSNR was measured on, "Y" or "RGB".
    """
    points = [point for point in points if math.isfinite(point.psnr) and point.seconds > 0]
    if not points:
        return ""
    frame = _PlotArea()
    references = [line for line in references if math.isfinite(line.psnr)]
    levels = [point.psnr for point in points] + [line.psnr for line in references]
    margin = max(0.12 * (max(levels) - min(levels)), 0.25)
    low, high = min(levels) - margin, max(levels) + margin
    first = math.floor(math.log10(min(point.seconds for point in points)) - 0.15)
    last = max(math.ceil(math.log10(max(point.seconds for point in points)) + 0.15), first + 1)

    def x(seconds: float) -> float:
        return frame.left + (math.log10(seconds) - first) / (last - first) * (frame.right - frame.left)

    def y(psnr: float) -> float:
        return frame.top + (high - psnr) / (high - low) * (frame.bottom - frame.top)

    names = _spread([y(line.psnr) for line in references], float(frame.bottom))
    return render(
        "plot.svg",
        unit=unit,
        frame=frame,
        levels=[(y(level), label) for level, label in _levels(low, high)],
        times=[(x(10.0**power), _duration(power)) for power in range(first, last + 1)],
        lines=[(y(line.psnr), height, line) for line, height in zip(references, names, strict=True)],
        dots=[(x(point.seconds), y(point.psnr), point) for point in points],
    )


def _spread(heights: Sequence[float], lowest: float) -> list[float]:
    """Push labels apart, in the order of their heights, so that none lies on another or below `lowest`."""
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    placed = list(heights)
    previous = -math.inf
    for index in order:
        placed[index] = previous = max(placed[index], previous + _LABEL_GAP)
    for index in reversed(order):
        placed[index] = min(placed[index], lowest)
        lowest = placed[index] - _LABEL_GAP
    return placed


def _levels(low: float, high: float) -> list[tuple[float, str]]:
    """Round PSNR values between two, at most eight, with their labels."""
    step = next(step for step in _STEPS if (high - low) / step <= 7)
    count = range(math.ceil(low / step), math.floor(high / step) + 1)
    return [(index * step, f"{index * step:.{1 if step < 1 else 0}f}") for index in count]


def _duration(power: int) -> str:
    """10 to a power, as seconds, milliseconds or microseconds."""
    if power >= 0:
        return f"{10.0**power:g} s"
    return f"{10.0 ** (power + 3):g} ms" if power >= -3 else f"{10.0 ** (power + 6):g} µs"
