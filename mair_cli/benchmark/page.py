"""Self-contained HTML pages, made from `templates/`: their environment, and pictures as data addresses.

Everything a page needs is inside it, and its content policy forbids the browser to fetch anything.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from mair_cli.benchmark.report import decibels, similarity
from mair_cli.version import __version__

__all__ = ["Layer", "Slider", "embed", "render"]

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
class Slider:
    """A before/after slider over two or more pictures of one size.

    Attributes:
        name: shown above.
        layers: the pictures; the first stands to the left of the handle at first.
        right: index of the picture that stands to the right of it.
        anchor: what links to the slider name; unique on its page.
    """

    name: str
    layers: Sequence[Layer]
    right: int = 1
    anchor: str = "slider"

    @property
    def height(self) -> int:
        """Of the pictures."""
        return int(self.layers[0].image.shape[0])

    @property
    def width(self) -> int:
        """Of the pictures."""
        return int(self.layers[0].image.shape[1])


def render(template: str, package: str = "mair_cli.benchmark", **values: object) -> Markup:
    """A page or a part of one; every text in `values` is escaped, and one that the template lacks is an error.

    Args:
        template: name of a file in `templates/` of `package`, which may build on those here.
        package: whose template it is.
        values: what the template names.
    """
    return Markup(_environment(package).get_template(template).render(values))


@lru_cache
def _environment(package: str) -> Environment:
    # Everything is escaped, whatever a template's name ends in: names of files and methods are not ours.
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("mair_cli.benchmark")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["version"] = __version__
    environment.filters.update(
        decibels=decibels,
        similarity=similarity,
        embed=embed,
        sources=_sources,
        number=_number,
        tenth=lambda value: f"{value:.1f}",
    )
    return environment


def _number(value: float | str | None) -> str:
    """As JavaScript reads numbers; text as it is, and nothing for None."""
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return "" if value is None else str(value)


def _sources(slider: Slider, lossless: bool) -> list[tuple[str, str]]:
    """Label and data address of each picture."""
    return [(layer.label, embed(layer.image, lossless)) for layer in slider.layers]


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
