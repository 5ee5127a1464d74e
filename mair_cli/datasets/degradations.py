"""What photographs have gone through before they reach the restorer: noise and JPEG compression, made on purpose.

The order is that of a camera and a web page: made smaller by some filter, noise, then JPEG once or twice. Networks are
told of it by levels, see `mair_cli.networks.levels`.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

import numpy as np
from PIL import Image

from mair_cli.datasets.noise import add_published_noise
from mair_cli.datasets.resize import matlab_bicubic
from mair_cli.errors import UsageError

__all__ = [
    "JPEG_GRID",
    "Degradation",
    "Kernel",
    "Subsampling",
    "add_noise",
    "compress",
    "reduce_image",
]

Kernel = Literal["bicubic", "lanczos", "area", "bilinear"]
Subsampling = Literal["4:4:4", "4:2:2", "4:2:0"]

# Side of the blocks that a JPEG with 4:2:0 is compressed in; a patch may begin anywhere in one.
JPEG_GRID = 16

_FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
}
_SPELLING = re.compile(
    r"(?:clean|(?P<kernel>lanczos|area|bilinear)?\s*(?:noise (?P<sigma>\d+(?:\.\d+)?))?\s*(?:jpeg (?P<quality>\d+))?)"
)


@dataclass(frozen=True)
class Degradation:
    """One fixed degradation, as a benchmark or a validation names it.

    Attributes:
        sigma: standard deviation of the noise, of 255; 0 for none.
        quality: JPEG quality 1 to 100, or None.
        kernel: filter that makes the image smaller, for super-resolution.
        subsampling: of the JPEG's colour.
    """

    sigma: float = 0.0
    quality: int | None = None
    kernel: Kernel = "bicubic"
    subsampling: Subsampling = "4:2:0"

    def __post_init__(self) -> None:
        """Check the ranges; raises UsageError naming what is out of range."""
        if not 0 <= self.sigma <= 255:
            raise UsageError(f"noise {self.sigma:g} does not lie in 0 to 255")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise UsageError(f"JPEG quality {self.quality} does not lie in 1 to 100")

    @classmethod
    def parse(cls, text: str) -> Degradation:
        """Read `clean`, `jpeg 75`, `noise 25`, `lanczos noise 15 jpeg 50` and the like; raises UsageError."""
        found = _SPELLING.fullmatch(" ".join(text.split()).lower())
        if found is None or not text.strip():
            raise UsageError(f"{text!r} is no degradation: write clean, noise 25, jpeg 75, or noise 15 jpeg 50")
        kernel, sigma, quality = found["kernel"], found["sigma"], found["quality"]
        return cls(
            float(sigma) if sigma else 0.0,
            int(quality) if quality else None,
            kernel or "bicubic",  # type: ignore[arg-type]  # the pattern admits these names only
        )

    def __str__(self) -> str:
        """The spelling that `parse` reads."""
        kernel = self.kernel if self.kernel != "bicubic" else ""
        noise = f"noise {self.sigma:g}" if self.sigma else ""
        jpeg = f"jpeg {self.quality}" if self.quality is not None else ""
        return " ".join(part for part in (kernel, noise, jpeg) if part) or "clean"

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Noise by the published seeded generator, then JPEG.

        Args:
            image: (H, W, 3) uint8 RGB, of the input's size already.

        Returns:
            The same size: uint8, or, with noise and no JPEG after it, float32 around [0, 1], neither clipped nor
            rounded, as the published denoising tests have it.
        """
        if self.sigma:
            image = add_published_noise(image, self.sigma)
        return image if self.quality is None else compress(image, self.quality, self.subsampling)


def add_noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """A uint8 image with Gaussian noise, standard deviation `sigma` of 255; float32, neither clipped nor rounded."""
    scaled = image.astype(np.float32) / np.float32(255)
    noisy: np.ndarray = scaled + np.float32(sigma / 255) * rng.standard_normal(image.shape, dtype=np.float32)
    return noisy


def compress(image: np.ndarray, quality: int, subsampling: Subsampling = "4:2:0") -> np.ndarray:
    """Save an image as JPEG and open it again.

    Args:
        image: (H, W, 3) RGB or (H, W) gray; uint8, or float in [0, 1], which is clipped and rounded first.
        quality: 1 to 100, libjpeg's scale.
        subsampling: of the colour; gray has none.

    Returns:
        The same shape, uint8.
    """
    if image.dtype != np.uint8:
        image = (image * np.float32(255)).round().clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(buffer))


def reduce_image(image: np.ndarray, scale: int, kernel: Kernel = "bicubic") -> np.ndarray:
    """Make an image `scale` times smaller by an antialiased filter: MATLAB's bicubic or one of Pillow's.

    Args:
        image: (H, W, 3) or (H, W) uint8, sides divisible by `scale`.
        scale: 1 returns the image itself.
        kernel: the filter.

    Returns:
        (H / scale, W / scale, …) uint8.
    """
    if kernel not in get_args(Kernel):
        raise UsageError(f"{kernel!r} is no downscaling kernel: {', '.join(get_args(Kernel))}")
    if scale == 1:
        return image
    if kernel == "bicubic":
        return np.ascontiguousarray(matlab_bicubic(image, Fraction(1, scale)))
    size = image.shape[1] // scale, image.shape[0] // scale
    return np.asarray(Image.fromarray(image).resize(size, _FILTERS[kernel]))
