"""Tags of TIFF files: EXIF data and profile of a page, and EXIF data as the tags of a page to be written.

In a TIFF file EXIF data are no block of their own: their tags stand among those that describe the pixels.
"""

from __future__ import annotations

import logging
import os
import struct
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from mair_cli.images.exif import strip_prefix
from mair_cli.images.guard import library_errors
from mair_cli.images.headers import TiffPage, check_tiff_directory
from mair_cli.images.metadata import Metadata
from mair_cli.images.software import TAG as SOFTWARE

_log = logging.getLogger(__name__)

PROFILE: Final = 34675
XMP, IPTC = 700, 33723
_EXIF_DIRECTORY, _GPS_DIRECTORY = 34665, 34853
_ORIENTATION: Final = 274
_WITHIN_EXIF: Final = (_EXIF_DIRECTORY, _GPS_DIRECTORY)
_DESCRIPTIVE: Final = frozenset(
    {SOFTWARE, 269, 270, 271, 272, 282, 283, 285, 296, 305, 306, 315, 316, 18246, 18249, 33432}
    | {40091, 40092, 40093, 40094, 40095, _EXIF_DIRECTORY, _GPS_DIRECTORY}
)
"""Tags that tell of a picture, not of how its pixels are stored: title, maker, model, resolution, dates, rights, ..."""


@dataclass(frozen=True)
class PageTags:
    """EXIF data (as a TIFF stream, without orientation) and ICC profile of a page, None for none; other metadata."""

    exif: bytes | None = None
    profile: bytes | None = None
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def size(self) -> int:
        """Bytes of all."""
        return sum(len(part or b"") for part in (self.exif, self.profile, self.metadata.xmp, self.metadata.iptc))


def read_tags(stream: BinaryIO, page: TiffPage, name: str) -> PageTags:
    """What the tags of a page tell of the picture.

    Damaged tags are left out, with a warning.
    """
    exif, profile, metadata = Image.Exif(), None, Metadata()
    try:
        tags = _load(stream, page.offset, None)
        stored = tags.get(PROFILE)
        profile = stored if isinstance(stored, bytes) else None
        metadata = Metadata(xmp=_content(tags.get(XMP)), iptc=_content(tags.get(IPTC)))
        for tag, value in tags.items():
            if tag in _WITHIN_EXIF and isinstance(value, int):
                check_tiff_directory(stream, value)
                inner = dict(_load(stream, value, tag))
                with library_errors():
                    exif.get_ifd(tag).update(inner)
            elif tag in _DESCRIPTIVE:
                exif[tag] = value
        with library_errors():
            told = len(exif) or any(exif.get_ifd(tag) for tag in _WITHIN_EXIF)
            return PageTags(strip_prefix(exif.tobytes()) if told else None, profile, metadata)
    except (OSError, ValueError, struct.error):
        _log.warning("%s: its EXIF data are damaged and are left out", name)
        return PageTags(None, profile, metadata)


def _content(value: object) -> bytes | None:
    return value if isinstance(value, bytes) and value else None


def _load(stream: BinaryIO, offset: int, group: int | None) -> ImageFileDirectory_v2:
    stream.seek(0)
    head = stream.read(16)
    stream.seek(offset, os.SEEK_SET)
    with library_errors():
        directory = ImageFileDirectory_v2(head if head[2:4] in (b"+\0", b"\0+") else head[:8], group=group)
        directory.load(stream)
        dict(directory)  # values are made out when they are asked for
    return directory


def add_exif_tags(directory: ImageFileDirectory_v2, exif: bytes) -> None:
    """Add the tags of EXIF data to a directory to be written. Raises ValueError where they cannot be made out."""
    with library_errors():
        parsed = Image.Exif()
        parsed.load(exif)
        for tag, value in parsed.items():
            if tag in _DESCRIPTIVE and tag not in _WITHIN_EXIF:
                directory[tag] = value
        for tag in _WITHIN_EXIF:
            inner = {key: value for key, value in parsed.get_ifd(tag).items() if not isinstance(value, dict)}
            if inner:
                directory[tag] = inner
                directory.tagtype[tag] = 4
        if _ORIENTATION in parsed:
            directory[_ORIENTATION] = 1
