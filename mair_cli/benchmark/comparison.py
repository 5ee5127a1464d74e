"""Two or three images beside one another: figures, and the slider page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from mair_cli.benchmark.page import Layer, Slider, render
from mair_cli.benchmark.report import figure_text
from mair_cli.datasets.resize import matlab_bicubic
from mair_cli.errors import ImageError
from mair_cli.images.io import read_rgb8
from mair_cli.measure.protocol import Measurement, measure

__all__ = ["Comparison", "compare_images"]


@dataclass(frozen=True)
class Comparison:
    """Images of one size, the last of which the others are measured against.

    Attributes:
        names: of the images, as given.
        images: (H, W, 3) RGB uint8 each.
        figures: of each image but the last.
        notes: which images were enlarged.
    """

    names: Sequence[str]
    images: Sequence[np.ndarray]
    figures: Sequence[Measurement]
    notes: Sequence[str]

    def render_html(self) -> str:
        """The slider page."""
        captions = [*(figure_text(figure) for figure in self.figures), "measured against"]
        layers = [Layer(*layer) for layer in zip(self.names, self.images, captions, strict=True)]
        return render(
            "comparison.html",
            title=" – ".join(self.names),
            notes=self.notes,
            slider=Slider("comparison", layers),
        )


def compare_images(paths: Sequence[Path], crop: int = 0) -> Comparison:
    """Read two or three images and measure each against the last.

    An image that is smaller than the largest one by the same factor in height and width is enlarged by bicubic.

    Args:
        paths: of the images.
        crop: pixels left out at every edge when measuring.

    Raises:
        ImageError: an image cannot be read, or the sizes do not belong together.
    """
    images = [read_rgb8(path) for path in paths]
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    remarks = []
    for index, (path, image) in enumerate(zip(paths, images, strict=True)):
        if image.shape[:2] == (height, width):
            continue
        factor = Fraction(height, image.shape[0])
        if factor != Fraction(width, image.shape[1]):
            raise ImageError(
                f"{path}: {image.shape[1]}x{image.shape[0]} pixels do not fit the largest image, {width}x{height}"
            )
        images[index] = matlab_bicubic(image, size=(height, width))
        remarks.append(f"{path.name} was enlarged ×{float(factor):g} by bicubic")
    figures = [measure(image, images[-1], crop) for image in images[:-1]]
    return Comparison(_distinct(paths), images, figures, remarks)


def _distinct(paths: Sequence[Path]) -> list[str]:
    """File names, with their folders where two are equal."""
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]
