"""Building blocks of the self-contained HTML pages: template, tables, sliders, pictures as data addresses.

Everything a page needs is inside it, and its content policy forbids the browser to fetch anything.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources

import numpy as np
from PIL import Image

__all__ = ["Cell", "Column", "Layer", "embed", "facts", "fill", "notes", "table", "viewer"]

LARGEST_WEBP_SIDE = 16383


@dataclass(frozen=True)
class Layer:
    """One picture of a slider.

    Attributes:
        label: its name.
        image: (H, W, 3) or (H, W), uint8; all layers of a slider have one size.
        caption: figures shown below the slider, or "".
    """

    label: str
    image: np.ndarray
    caption: str = ""


@dataclass(frozen=True)
class Column:
    """A table's column: heading (HTML), and how it sorts."""

    heading: str
    numeric: bool = True


@dataclass(frozen=True)
class Cell:
    """A table's cell: HTML, the value to sort by (the text where None), class and further attributes."""

    html: str
    value: float | str | None = None
    style: str = ""
    attributes: str = ""


def fill(title: str, body: str) -> str:
    """The whole page; `title` is text, `body` HTML."""
    template = resources.files("mair_cli.benchmark").joinpath("page.html").read_text(encoding="utf-8")
    values = {"title": escape(title), "body": body}
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)


def embed(image: np.ndarray, lossless: bool = True) -> str:
    """A picture as a data address, WebP: bit for bit, or at quality 92.

    WebP ends at 16383 pixels a side; larger pictures become PNG.
    """
    stream = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(image))
    if max(image.shape[:2]) > LARGEST_WEBP_SIDE:
        picture.save(stream, format="PNG")
        kind = "png"
    else:
        # `exact` matters not without alpha; effort 20 of 100 is 4 % larger than the best and five times as fast.
        picture.save(stream, format="WEBP", lossless=lossless, quality=20 if lossless else 92, method=2)
        kind = "webp"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def facts(values: Mapping[str, str]) -> str:
    """A list of labelled facts."""
    items = "".join(f"<dt>{escape(label)}</dt><dd>{escape(value)}</dd>" for label, value in values.items())
    return f'<dl class="facts">{items}</dl>'


def notes(texts: Sequence[str]) -> str:
    """A list of remarks; nothing where there are none."""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f'<ul class="notes">{items}</ul>' if items else ""


def table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    *,
    groups: Sequence[tuple[str, int]] = (),
    foot: Sequence[Cell] = (),
    style: str = "",
) -> str:
    """A table that sorts by its headings.

    Args:
        columns: headings.
        rows: cells, as many as columns each.
        groups: a row above the headings: (HTML, columns spanned).
        foot: last row, which stays where it is.
        style: further class names.
    """
    heads = "".join(
        f'<th data-column="{index}"{" data-numeric=1" if column.numeric else ""}'
        f'{"" if column.numeric else " class=text"}><button type="button">{column.heading}</button></th>'
        for index, column in enumerate(columns)
    )
    grouped = "".join(f'<th class="group" colspan="{span}">{label}</th>' for label, span in groups)
    head = (f"<tr>{grouped}</tr>" if grouped else "") + f"<tr>{heads}</tr>"
    body = "".join(f"<tr>{_cells(row)}</tr>" for row in rows)
    tail = f"<tfoot><tr>{_cells(foot)}</tr></tfoot>" if foot else ""
    return (
        f'<div class="scroll"><table class="sortable {style}"><thead>{head}</thead><tbody>{body}</tbody>{tail}'
        "</table></div>"
    )


def _cells(row: Sequence[Cell]) -> str:
    parts = []
    for cell in row:
        value = f' data-value="{escape(_number(cell.value))}"' if cell.value is not None else ""
        style = f' class="{cell.style}"' if cell.style else ""
        parts.append(f"<td{style}{value}{' ' + cell.attributes if cell.attributes else ''}>{cell.html}</td>")
    return "".join(parts)


def _number(value: float | str) -> str:
    """As JavaScript reads numbers."""
    if isinstance(value, float) and value == float("inf"):
        return "Infinity"
    return str(value)


def viewer(name: str, layers: Sequence[Layer], *, left: int = 0, right: int = 1, lossless: bool = True) -> str:
    """A before/after slider over two or more pictures of one size.

    Args:
        name: shown above, and the target of `anchor` links.
        layers: the pictures.
        left: index of the picture shown to the left of the handle at first.
        right: to the right of it.
        lossless: see `embed`.
    """
    height, width = layers[0].image.shape[:2]
    pictures = "".join(
        f'<img alt="{escape(f"{name}: {layer.label}")}" src="{embed(layer.image, lossless)}"'
        f"{' class=right' if index == right else ''}>"
        for index, layer in enumerate(layers)
    )
    captions = "".join(
        f"<span><b>{escape(layer.label)}</b> {escape(layer.caption)}</span>" for layer in layers if layer.caption
    )
    return (
        f'<section class="card viewer" id="{anchor(name)}"><header><h3>{escape(name)}</h3>'
        f'<span class="hint">{width} × {height}</span></header>'
        f'<div class="tools"><label>left {_choice("left", layers, left)}</label>'
        f"<label>right {_choice('right', layers, right)}</label>{_ZOOM}</div>"
        f'<div class="frame"><div class="stage" data-width="{width}" '
        f'style="aspect-ratio: {width} / {height}; width: {width}px; max-width: 100%">{pictures}'
        '<div class="bar"></div><span class="tag l"></span><span class="tag r"></span>'
        f'<input type="range" min="0" max="100" step="0.5" value="50" aria-label="{escape(name)}: divide at">'
        "</div></div>"
        f'<div class="layers">{captions}</div></section>'
    )


def anchor(name: str) -> str:
    """A name as the id of its slider."""
    return "image-" + re.sub(r"[^A-Za-z0-9_.-]", "-", name)


_ZOOM = (
    '<span class="zoom"><button type="button" data-zoom="0" aria-pressed="true">fit</button>'
    + "".join(f'<button type="button" data-zoom="{zoom}" aria-pressed="false">{zoom}×</button>' for zoom in (1, 2, 4))
    + "</span>"
)


def _choice(side: str, layers: Sequence[Layer], chosen: int) -> str:
    options = "".join(
        f'<option value="{index}"{" selected" if index == chosen else ""}>{escape(layer.label)}</option>'
        for index, layer in enumerate(layers)
    )
    return f'<select class="{side}">{options}</select>'
