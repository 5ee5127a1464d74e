"""What a decoded picture is, in memory: its samples, and what of its file must find its way into the result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from mair_cli.images.formats import default_format
from mair_cli.images.metadata import Metadata

LUMA: Final = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in luma, as JPEG files have it (ITU-R BT.601, full range)."""

Samples: TypeAlias = npt.NDArray[Any]
"""uint8, uint16 or float32: see `Picture`."""


@dataclass
class Picture:
    """One still picture, upright: the orientation told by its file has been applied.

    Attributes:
        color: (H, W, 3) RGB or (H, W) gray; uint8 or uint16 over their whole range, or float32 in [0, 1].
        alpha: (H, W) opacity of the same type, not premultiplied; None for a picture without transparency.
        icc_profile: the profile `color` is to be read with; None where the file had none, or where its colours had to
            be converted (CMYK, Lab): `color` is sRGB then.
        exif: EXIF data as a TIFF stream without the "Exif" prefix, its orientation reset to 1; None for none.
        format: the file's format, a value of `formats.FORMATS` ("PNG", "JPEG", ...).
        lossless: whether the file held its samples without loss.
        png_color: chunks of a PNG file that say how its colours are meant (gAMA, cHRM, sRGB, cICP), by name. Only PNG
            files can hold them again.
        metadata: what else the file says about the picture.
        truncated: whether the file ended early, so that the lower part is empty.
        jpeg_quality: how strongly the samples were compressed, 1..100 on libjpeg's scale, where they are those of a
            JPEG file, turned at most. No picture made of these, `dataclasses.replace` included, takes it over.
    """

    color: Samples
    alpha: Samples | None = None
    icc_profile: bytes | None = None
    exif: bytes | None = None
    format: str = "PNG"
    lossless: bool = True
    png_color: tuple[tuple[bytes, bytes], ...] = ()
    metadata: Metadata = field(default_factory=Metadata)
    truncated: bool = False
    jpeg_quality: int | None = field(default=None, init=False)

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.color.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.color.shape[1])

    @property
    def gray(self) -> bool:
        """Whether there is one channel, besides alpha."""
        return self.color.ndim == 2

    @property
    def default_format(self) -> str:
        """The format to write the restored picture in, unless the user asks for another."""
        return default_format(self.format, self.lossless, dtype=str(self.color.dtype))


@dataclass
class Animation:
    """Several pictures of one file: the frames of a GIF, WebP, PNG or AVIF animation, or the pages of a TIFF.

    Attributes:
        frames: whole pictures in order, each as it is to be seen (frames stored as differences have been resolved). All
            are of one size and one kind (gray or not, with alpha or not); only pages of a TIFF may differ.
        durations: milliseconds that each frame is shown; 0 for pages.
        loop: how often the whole is played; 0 means for ever.
    """

    frames: list[Picture]
    durations: list[int]
    loop: int = 0

    @property
    def format(self) -> str:
        """The file's format."""
        return self.frames[0].format

    @property
    def default_format(self) -> str:
        """The format to write the restored frames in, unless the user asks for another."""
        first = self.frames[0]
        return default_format(first.format, first.lossless, animated=True)


@dataclass(frozen=True)
class ImageInfo:
    """What a file's header says of the picture in it.

    Attributes:
        width, height: size in pixels, upright (after the orientation of the file is applied).
        frames: number of frames or pages.
        format: as in `Picture.format`.
        dtype: type of the samples that reading yields: "uint8", "uint16" or "float32".
        lossless, jpeg_quality: as in `Picture`.
        software: as in `Metadata`.
    """

    width: int
    height: int
    frames: int
    format: str
    dtype: str
    lossless: bool
    jpeg_quality: int | None = None
    software: str | None = None

    @property
    def default_format(self) -> str:
        """The format to write the restored picture in, unless the user asks for another."""
        return default_format(self.format, self.lossless, dtype=self.dtype, animated=self.frames > 1)


def full_scale(samples: Samples) -> np.float32:
    """The value of white, or of full opacity, in the type of `samples`."""
    return np.float32(1 if samples.dtype == np.float32 else np.iinfo(samples.dtype).max)


def convert_depth(samples: Samples, dtype: str) -> Samples:
    """Samples of another type, "uint8", "uint16" or "float32", the whole range onto the whole range, rounded.

    Floats outside [0, 1] are clipped, NaN becomes 0.
    """
    if samples.dtype == dtype:
        return samples
    if dtype == "float32":
        return samples.astype(np.float32) / full_scale(samples)
    if samples.dtype == np.float32:
        scaled = np.nan_to_num(samples, nan=0.0).clip(0, 1) * np.float32(np.iinfo(dtype).max)
        return np.rint(scaled).astype(np.uint8 if dtype == "uint8" else np.uint16)
    if dtype == "uint16":
        return samples.astype(np.uint16) * np.uint16(257)
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def as_rgb8(color: Samples) -> npt.NDArray[np.uint8]:
    """(H, W, 3) or (H, W) samples of any type as (H, W, 3) uint8: rounded, gray on all three channels."""
    samples = convert_depth(color, "uint8")
    if samples.ndim == 2:
        samples = np.repeat(samples[:, :, None], 3, axis=2)
    return np.ascontiguousarray(samples)
