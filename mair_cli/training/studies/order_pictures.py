"""Pictures of scan orders as SVG: the path over the pixels, its colour running from start to end."""

from __future__ import annotations

import colorsys
import itertools
from pathlib import Path

from mair_cli.scan.orders import DIRECTIONS, SCAN_PATTERNS, IntArray, scan_orders
from mair_cli.training.state import write_atomically

_CELL = 12.0
_GAP = 28.0


def draw_orders(folder: Path, side: int = 16, stripe: int = 4) -> list[Path]:
    """Draw every scan pattern on a grid of `side` × `side` pixels: `scan-NAME.svg`, the four directions side by side.

    The upper row shows the order of even blocks, the lower one, where it differs, the shifted order of odd blocks.
    Raises TrainingError when a file cannot be written.
    """
    written = []
    for pattern in SCAN_PATTERNS:
        rows = [scan_orders(side, side, stripe, False, pattern)]
        shifted = scan_orders(side, side, stripe, True, pattern)
        if (shifted != rows[0]).any():
            rows.append(shifted)
        path = folder / f"scan-{pattern}.svg"
        write_atomically(path, order_svg(rows, side, pattern).encode())
        written.append(path)
    return written


def order_svg(rows: list[IntArray], side: int, title: str) -> str:
    """An SVG of orders (4, side²) each, one row of four grids per entry of `rows`."""
    span = side * _CELL
    width, height = DIRECTIONS * (span + _GAP), len(rows) * (span + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img">',
        f"<title>Scan order: {title}</title>",
        f'<rect width="{width:g}" height="{height:g}" fill="white"/>',
    ]
    for row, orders in enumerate(rows):
        for direction, order in enumerate(orders):
            x, y = direction * (span + _GAP) + _GAP / 2, row * (span + _GAP) + _GAP / 2
            parts.append(f'<g transform="translate({x:g},{y:g})">{_grid(order, side)}</g>')
    return "\n".join([*parts, "</svg>", ""])


def _grid(order: IntArray, side: int) -> str:
    span = side * _CELL
    points = [((p % side + 0.5) * _CELL, (p // side + 0.5) * _CELL) for p in order.tolist()]
    parts = [f'<rect width="{span:g}" height="{span:g}" fill="#f4f4f4" stroke="#bbb"/>']
    for i, ((x0, y0), (x1, y1)) in enumerate(itertools.pairwise(points)):
        jumps = abs(x1 - x0) + abs(y1 - y0) > 1.5 * _CELL  # steps to a pixel that is no neighbour are drawn thin
        style = 'stroke-width="0.8" stroke-dasharray="2 2"' if jumps else 'stroke-width="2.4" stroke-linecap="round"'
        colour = _colour(i / len(points))
        parts.append(f'<path d="M{x0:g} {y0:g}L{x1:g} {y1:g}" stroke="{colour}" {style}/>')
    (x, y), end = points[0], points[-1]
    parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="3.6" fill="{_colour(0)}"/>')
    parts.append(f'<rect x="{end[0] - 3:g}" y="{end[1] - 3:g}" width="6" height="6" fill="{_colour(1)}"/>')
    return "".join(parts)


def _colour(share: float) -> str:
    red, green, blue = colorsys.hsv_to_rgb(0.62 * (1 - share), 0.85, 0.8)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
