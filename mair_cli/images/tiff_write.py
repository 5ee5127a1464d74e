"""TIFF files of any depth and number of pages, written whole: Pillow writes no colour of more than 8 bits.

Deflate with horizontal differences, strips of about a megabyte, little-endian; BigTIFF above 3.5 GiB of pixels.
Follows TIFF 6.0 and its Technical Note 3 (floating-point differences are not used: few readers know them).
"""

from __future__ import annotations

import itertools
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Final

import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from mair_cli.images.exif import with_pixel_size
from mair_cli.images.formats import DEFLATE_LEVEL
from mair_cli.images.guard import warnings_ignored
from mair_cli.images.metadata import Metadata
from mair_cli.images.picture import Samples
from mair_cli.images.tiff_tags import IPTC, PROFILE, XMP, add_exif_tags

_STRIP_BYTES: Final = 1 << 20
_MAX_CLASSIC_BYTES: Final = 7 << 29
_BYTE, _SHORT, _LONG, _RATIONAL, _UNDEFINED, _LONG8 = 1, 3, 4, 5, 7, 16


@dataclass(frozen=True)
class TiffContent:
    """One page: samples (H, W, C) with C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha; and what is told of it."""

    samples: Samples
    profile: bytes | None
    exif: bytes | None
    metadata: Metadata = field(default_factory=Metadata)


def write_tiff(stream: BinaryIO, pages: Sequence[TiffContent]) -> None:
    """Write a TIFF file.

    Args:
        stream: where to; must be able to seek.
        pages: at least one.

    Raises:
        ValueError: the EXIF data cannot be made out.
    """
    big = sum(page.samples.nbytes for page in pages) > _MAX_CLASSIC_BYTES
    code = "Q" if big else "L"
    stream.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) if big else struct.pack("<2sHL", b"II", 42, 0))
    link = 8 if big else 4
    for page in pages:
        strips = list(_strips(page.samples))
        start = stream.seek(0, os.SEEK_END)
        start += stream.write(b"\0" * (start % 2))
        with warnings_ignored():  # about EXIF data that are not quite sound
            block = _directory(page, [len(strip) for strip in strips], big).tobytes(start)
        stream.write(block)
        for strip in strips:
            stream.write(strip)
        stream.seek(link)
        stream.write(struct.pack(f"<{code}", start))
        entries = struct.unpack_from("<Q" if big else "<H", block)[0]
        link = start + (8 + 20 * entries if big else 2 + 12 * entries)
    stream.seek(0, os.SEEK_END)


def _rows_per_strip(samples: Samples) -> int:
    return max(1, _STRIP_BYTES // max(1, samples[:1].nbytes))


def _strips(samples: Samples) -> Iterator[bytes]:
    """The compressed strips; whole numbers as differences to the pixel before."""
    step = _rows_per_strip(samples)
    for row in range(0, samples.shape[0], step):
        block = samples[row : row + step]
        if block.dtype != np.float32:
            left = np.zeros_like(block)
            left[:, 1:] = block[:, :-1]
            block = block - left  # wraps around, as it is meant to
        yield zlib.compress(block.astype(block.dtype.newbyteorder("<")).tobytes(), DEFLATE_LEVEL)


def _directory(page: TiffContent, sizes: list[int], big: bool) -> ImageFileDirectory_v2:
    """The tags of one page; places of strips count from the end of the directory, which is how Pillow wants them."""
    height, width, channels = page.samples.shape
    directory = ImageFileDirectory_v2(b"II\x2b\x00\x08\x00\x00\x00" + bytes(8) if big else b"II\x2a\x00" + bytes(4))
    if page.exif:
        add_exif_tags(directory, with_pixel_size(page.exif, width, height))
    alpha = channels in (2, 4)
    bits = page.samples.dtype.itemsize * 8
    floats = page.samples.dtype == np.float32
    whole: dict[int, int | tuple[int, ...]] = {
        256: width,
        257: height,
        258: (bits,) * channels,
        259: 8,  # deflate
        262: 1 if channels < 3 else 2,
        277: channels,
        278: _rows_per_strip(page.samples),
        284: 1,
        339: (3 if floats else 1,) * channels,
    }
    if alpha:
        whole[338] = 2
    if not floats:
        whole[317] = 2  # differences
    for tag, value in whole.items():
        directory.tagtype[tag] = _LONG if tag in (256, 257, 278) else _SHORT
        directory[tag] = value
    for tag, places in ((273, _running_sums(sizes)), (279, tuple(sizes))):
        directory.tagtype[tag] = _LONG8 if big else _LONG
        directory[tag] = places
    for tag, content in ((PROFILE, page.profile), (XMP, page.metadata.xmp), (IPTC, page.metadata.iptc)):
        if content:
            directory.tagtype[tag] = _UNDEFINED if tag != XMP else _BYTE
            directory[tag] = content
    if page.metadata.dpi is not None:
        for tag, density in zip((282, 283), page.metadata.dpi, strict=True):
            directory.tagtype[tag] = _RATIONAL
            directory[tag] = density
        directory[296] = 2  # per inch
    return directory


def _running_sums(sizes: list[int]) -> tuple[int, ...]:
    return tuple(itertools.accumulate(sizes[:-1], initial=0))
