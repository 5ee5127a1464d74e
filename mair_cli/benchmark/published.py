"""Figures that papers and their repositories print, to stand beside measured ones.

`published_figures.json` keeps one figure per method, data set and degree: the method's own (primary) where known, else
the one most sources agree on. Super-resolution figures are on Y, all others on RGB (`MeasureProtocol.headline`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from mair_cli.benchmark.methods import MethodInfo
from mair_cli.measure.protocol import MeasureProtocol

__all__ = ["PublishedFigure", "counterpart", "published_figures", "published_images"]


@dataclass(frozen=True)
class PublishedFigure:
    """One published mean.

    Attributes:
        method: as the paper calls it.
        task: see `MeasureProtocol`.
        dataset: as the catalogue of benchmark sets spells it.
        setting: scale, noise level or JPEG quality; None for the other tasks.
        psnr: dB, on the task's headline channels.
        ssim: or None where only PSNR is printed.
        parameters: as printed, such as "897K"; None where it is not.
        primary: whether the source is the method's own.
        source: where it was read.
        note: what to know about it, or "".
    """

    method: str
    task: str
    dataset: str
    setting: int | None
    psnr: float
    ssim: float | None
    parameters: str | None
    primary: bool
    source: str
    note: str


@lru_cache(maxsize=1)
def _content() -> dict[str, Any]:
    text = resources.files("mair_cli.benchmark").joinpath("published_figures.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


@lru_cache(maxsize=1)
def _all_figures() -> tuple[PublishedFigure, ...]:
    content = _content()
    sources, columns = content["sources"], content["columns"]
    rows = (dict(zip(columns, row, strict=True)) for row in content["figures"])
    return tuple(PublishedFigure(**{**row, "source": sources[row["source"]]}) for row in rows)


def published_figures(dataset: str, protocol: MeasureProtocol) -> list[PublishedFigure]:
    """What is published for this data set, task and degree, lowest PSNR first; empty where nothing is known."""
    kind = protocol.kind
    setting = {"reduced": protocol.scale, "noisy": protocol.sigma, "compressed": protocol.quality}.get(kind.inputs)
    # Nothing is published for inputs that went through more than their task's own degradation.
    if (protocol.sigma and kind.inputs != "noisy") or (protocol.quality and kind.inputs != "compressed"):
        return []
    found = [
        figure
        for figure in _all_figures()
        if figure.dataset == dataset and figure.task == protocol.task and figure.setting in (setting, None)
    ]
    return sorted(found, key=lambda figure: figure.psnr)


def published_images(dataset: str) -> int | None:
    """Number of images that published means cover, for sets that the catalogue of benchmark sets lacks."""
    images: int | None = _content()["images"].get(dataset)
    return images


# Which published row a measured method reproduces: the same network with the same weights, or the same baseline.
_COUNTERPARTS = {"bicubic": "Bicubic", "mair-sr": "MaIR", "mair-s": "MaIR-S", "mair-t": "MaIR-T", "mair-cdn": "MaIR"}


def counterpart(
    method: MethodInfo, figures: Sequence[PublishedFigure], ensemble: bool = False
) -> PublishedFigure | None:
    """The published row that was measured with the very same method and weights; None where there is none.

    Args:
        method: what was measured.
        figures: published for the same data set, task and degree.
        ensemble: whether it was measured with self-ensemble, which papers mark with a plus sign.
    """
    name = method.name if method.kind == "baseline" else method.model.rsplit("-", 1)[0]
    wanted = _COUNTERPARTS.get(name)
    if wanted is None:
        return None
    if ensemble and method.kind == "model":
        wanted += "+"
    return next((figure for figure in figures if figure.method == wanted), None)
