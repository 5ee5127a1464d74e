"""PSNR against time as an inline SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Point", "Reference", "quality_time_plot"]

_WIDTH, _HEIGHT = 860, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 190, 20, 48
_SERIES = 6
_LABEL_GAP = 14.0


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
    references = [line for line in references if math.isfinite(line.psnr)]
    levels = [point.psnr for point in points] + [line.psnr for line in references]
    low, high = min(levels), max(levels)
    margin = max(0.12 * (high - low), 0.25)
    low, high = low - margin, high + margin
    first = math.floor(math.log10(min(point.seconds for point in points)) - 0.15)
    last = max(math.ceil(math.log10(max(point.seconds for point in points)) + 0.15), first + 1)

    def x(seconds: float) -> float:
        return _LEFT + (math.log10(seconds) - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT)

    def y(psnr: float) -> float:
        return _TOP + (high - psnr) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [*_axes(low, high, y, unit)]
    parts += [part for power in range(first, last + 1) for part in _time_tick(power, x(10.0**power))]
    # Published lines stop short of the plot's edge, where their names stand, kept apart from one another.
    heights = _spread([y(line.psnr) for line in references])
    for line, height in zip(references, heights, strict=True):
        level = y(line.psnr)
        edge = _WIDTH - _RIGHT
        parts.append(f'<path class="reference" d="M{_LEFT} {level:.1f}H{edge}L{edge + 10} {height:.1f}" fill="none"/>')
        parts.append(f'<text x="{edge + 14}" y="{height + 4:.1f}">{escape(line.label)} {line.psnr:.2f}</text>')
    for index, point in enumerate(points):
        color = f"var(--series-{index % _SERIES})"
        place = f'cx="{x(point.seconds):.1f}" cy="{y(point.psnr):.1f}"'
        hint = escape(f"{point.label}: {point.psnr:.2f} dB, {point.seconds:.3g} s per image")
        parts.append(f'<circle {place} r="7" fill="{color}"><title>{hint}</title></circle>')
        parts.append(_point_label(point, x(point.seconds), y(point.psnr)))
    title = escape(f"PSNR ({unit}) against seconds per image")
    return f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{title}">{"".join(parts)}</svg>'


def _point_label(point: Point, x: float, y: float) -> str:
    right_half = x > (_LEFT + _WIDTH - _RIGHT) / 2
    side, shift = ("end", -12) if right_half else ("start", 12)
    return f'<text class="name" x="{x + shift:.1f}" y="{y + 4:.1f}" text-anchor="{side}">{escape(point.label)}</text>'


def _spread(heights: Sequence[float]) -> list[float]:
    """Push labels apart, in the order of their heights, so that none lies on another or below the plot."""
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    placed = list(heights)
    previous = -math.inf
    for index in order:
        placed[index] = previous = max(placed[index], previous + _LABEL_GAP)
    limit = float(_HEIGHT - _BOTTOM)
    for index in reversed(order):
        placed[index] = min(placed[index], limit)
        limit = placed[index] - _LABEL_GAP
    return placed


def _axes(low: float, high: float, y: Callable[[float], float], unit: str) -> list[str]:
    step = next(step for step in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0) if (high - low) / step <= 7)
    parts = []
    level = math.ceil(low / step) * step
    while level <= high:
        height = y(level)
        parts.append(f'<path class="axis" d="M{_LEFT} {height:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(
            f'<text x="{_LEFT - 8}" y="{height + 4:.1f}" text-anchor="end">{level:.{1 if step < 1 else 0}f}</text>'
        )
        level += step
    middle = _TOP + (_HEIGHT - _TOP - _BOTTOM) / 2
    across = _LEFT + (_WIDTH - _LEFT - _RIGHT) / 2
    parts.append(f'<text x="{across:.0f}" y="{_HEIGHT - 8}" text-anchor="middle">time per image</text>')
    parts.append(
        f'<text transform="translate(14 {middle:.0f}) rotate(-90)" text-anchor="middle">PSNR on {unit}, dB</text>'
    )
    return parts


def _time_tick(power: int, x: float) -> list[str]:
    label = f"{10.0**power:g} s" if power >= 0 else f"{10.0 ** (power + 3):g} ms"
    if power < -3:
        label = f"{10.0 ** (power + 6):g} µs"
    foot = _HEIGHT - _BOTTOM
    return [
        f'<path class="axis" d="M{x:.1f} {_TOP}V{foot}"/>',
        f'<text x="{x:.1f}" y="{foot + 18}" text-anchor="middle">{label}</text>',
    ]
