"""A picture of input and result side by side, with a zoomed detail of each where they differ most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mair_cli.measure.differences import most_different_box

_PANEL = 640  # widest panel, in pixels; larger pictures are shown reduced
_TALLEST = 720
_MARGIN = 12
_CAPTION = 32
_NARROWEST = 160  # room for captions under which a slim picture stands
_BACKGROUND = (24, 24, 27)
_INK = (235, 235, 235)
_FRAME = (255, 196, 0)
_MIN_DETAIL = 32  # smallest side of the detail, in result pixels
_DETAIL_SHARE = 4  # the detail shows a quarter of the width


@dataclass(frozen=True)
class Panel:
    """One column of the picture.

    Attributes:
        caption: what it shows.
        image: (H, W, 3) or (H, W), uint8; of any size, shown at the size of the second panel, which is the result.
    """

    caption: str
    image: np.ndarray


def side_by_side(panels: Sequence[Panel]) -> np.ndarray:
    """The panels next to each other, and under each a detail of it, enlarged so that pixels of the result show.

    Args:
        panels: input, result, and perhaps the ground truth; the detail is where the first two differ most.

    Returns:
        (H, W, 3) uint8.
    """
    pictures = [Image.fromarray(panel.image).convert("RGB") for panel in panels]
    width, height = pictures[1].size
    factor = min(_PANEL / width, _TALLEST / height)
    # Small pictures are enlarged by whole numbers only, so that each pixel stays a square.
    factor = float(int(factor)) if factor >= 1 else factor
    shown = (max(1, round(width * factor)), max(1, round(height * factor)))
    box = detail_box(panels[0].image, panels[1].image)
    zoomed = (shown[0], max(1, round(shown[0] * (box[3] - box[1]) / (box[2] - box[0]))))
    column = max(shown[0], _NARROWEST)
    canvas = Image.new(
        "RGB",
        (_MARGIN + len(pictures) * (column + _MARGIN), _CAPTION + shown[1] + zoomed[1] + 2 * _MARGIN),
        _BACKGROUND,
    )
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(16)
    for index, (panel, picture) in enumerate(zip(panels, pictures, strict=True)):
        left, top = _MARGIN + index * (column + _MARGIN), _CAPTION
        draw.text((left, 6), _fitting(panel.caption, font, column), fill=_INK, font=font)
        canvas.paste(_at_size(picture, (width, height), (0, 0, width, height), shown), (left, top))
        _outline(draw, left + box[0] * factor, top + box[1] * factor, left + box[2] * factor, top + box[3] * factor)
        top += shown[1] + _MARGIN
        canvas.paste(_at_size(picture, (width, height), box, zoomed), (left, top))
        _outline(draw, left, top, left + zoomed[0], top + zoomed[1])
    return np.asarray(canvas)


def _at_size(
    picture: Image.Image, whole: tuple[int, int], box: tuple[int, int, int, int], size: tuple[int, int]
) -> Image.Image:
    """The part `box` of a picture taken at the size `whole`, shown at `size`: reduced, or with pixels as squares."""
    across, down = picture.width / whole[0], picture.height / whole[1]
    part = (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
    own = (box[2] - box[0], box[3] - box[1])
    if size[0] < own[0]:
        return picture.resize(size, Image.Resampling.LANCZOS, box=part)
    return picture.resize(own, Image.Resampling.BICUBIC, box=part).resize(size, Image.Resampling.NEAREST)


def detail_box(before: np.ndarray, after: np.ndarray) -> tuple[int, int, int, int]:
    """The part of `after` that differs most from `before`: left, top, right and bottom, as Pillow counts.

    Args:
        before: (H, W, 3) or (H, W), uint8; enlarged by bicubic where it is smaller than `after`.
        after: (H, W, 3) or (H, W), uint8.
    """
    side = max(_MIN_DETAIL, after.shape[1] // _DETAIL_SHARE)
    box = most_different_box([before, after], height=side * 3 // 4, width=side)
    return box.left, box.top, box.left + box.width, box.top + box.height


def _outline(draw: ImageDraw.ImageDraw, left: float, top: float, right: float, bottom: float) -> None:
    left, top = round(left), round(top)
    draw.rectangle((left, top, max(left, round(right) - 1), max(top, round(bottom) - 1)), outline=_FRAME, width=2)


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The text, cut with an ellipsis where it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
