"""Camera raw files, developed by LibRaw (extra `formats`): the sensor's samples to 16-bit sRGB.

As plainly as can be: the white balance that the camera recorded, no automatic brightening, no denoising, highlights
clipped, turned upright. Who wants a look develops the picture first.
"""

from __future__ import annotations

import importlib
import io
import os
import re
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from PIL import Image

from mair_cli.errors import ImageError
from mair_cli.images import headers, tiff_tags
from mair_cli.images.exif import strip_prefix
from mair_cli.images.formats import FORMATS, INSTALL_PLUGINS, plugin_missing
from mair_cli.images.guard import library_errors
from mair_cli.images.picture import Samples

BYTES_PER_PIXEL: Final = 40
"""Memory that developing takes at most: the sensor's samples, four channels on the way, the result and its copy."""

_SIGNATURES: Final = (
    (0, (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"\0MRM")),  # RAF, ORF, RW2, MRW
    (4, (b"ftypcrx ",)),  # CR3
)
_TURNED: Final = (5, 6)  # LibRaw's numbers of quarter turns
_SRGB_GAMMA: Final = (2.4, 12.92)  # exponent, and slope near black (IEC 61966-2-1)


_COMPLAINT: Final = re.compile(rb": (Unexpected end of file|data corrupted at -?\d+)")
_standard_error = threading.RLock()
"""Standard error is the process's: one thread at a time takes it."""


@dataclass(frozen=True)
class RawHeader:
    """What a raw file says of its picture: pixels, upright, and EXIF data without prefix, if it has any."""

    width: int
    height: int
    exif: bytes | None


def is_raw(head: bytes, stream: BinaryIO, name: str) -> bool:
    """Whether a file is a camera's raw data, by its beginning.

    Most makers' files are TIFF files, and some tell of themselves by nothing but their names.
    """
    if any(head[at:].startswith(starts) for at, starts in _SIGNATURES):
        return True
    if not head.startswith((b"II*\0", b"MM\0*")):
        return False
    return FORMATS.get(Path(name).suffix.lower()) == "RAW" or head[8:10] == b"CR" or headers.tiff_is_raw(stream)


def read_raw_header(stream: BinaryIO, name: str) -> RawHeader:
    """Size and EXIF data; nothing is decoded. Raises ImageError."""
    with _opened(stream, name) as raw:
        width, height = int(raw.sizes.iwidth), int(raw.sizes.iheight)
        turned, thumbnail = raw.sizes.flip in _TURNED, _thumbnail(raw)
    exif = _exif_of_tags(stream, name) or _exif_of_jpeg(thumbnail)
    return RawHeader(height, width, exif) if turned else RawHeader(width, height, exif)


def develop(stream: BinaryIO, name: str) -> Samples:
    """The picture as (H, W, 3) uint16 sRGB, (H, W) of a sensor without colours, upright. Raises ImageError."""
    with _opened(stream, name) as raw:
        library = importlib.import_module("rawpy")
        color = raw.postprocess(
            use_camera_wb=True,
            no_auto_bright=True,
            output_bps=16,
            output_color=library.ColorSpace.sRGB,
            gamma=_SRGB_GAMMA,
        )
    return np.ascontiguousarray(color[:, :, 0] if color.ndim == 3 and color.shape[2] == 1 else color)


@contextmanager
def _complaints_raised() -> Iterator[None]:
    """Raise ValueError where LibRaw writes to standard error that data are damaged or end early.

    It may go on then, and half a picture would be taken for a whole one. What other threads write meanwhile is passed
    on afterwards.
    """
    with _standard_error, tempfile.TemporaryFile() as caught:
        real = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(real, 2)
            caught.seek(0)
            lines = caught.read().splitlines(keepends=True)
            os.write(real, b"".join(line for line in lines if not _COMPLAINT.search(line)))
            os.close(real)
    if complaint := next(filter(None, map(_COMPLAINT.search, lines)), None):
        raise ValueError(complaint[1].decode().lower())


@contextmanager
def _opened(stream: BinaryIO, name: str) -> Iterator[Any]:
    """LibRaw's view of a file; what it raises is about the file."""
    if plugin_missing("RAW"):
        raise ImageError(f"{name}: reading camera raw needs a plug-in: {INSTALL_PLUGINS}")
    library = importlib.import_module("rawpy")
    stream.seek(0)
    try:
        with _complaints_raised(), library_errors(), library.imread(io.BytesIO(stream.read())) as raw:
            yield raw
    except library.LibRawError as error:
        told = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise ImageError(f"{name}: LibRaw cannot read it: {told[:120].lower()}; convert it to DNG or TIFF") from error


def _thumbnail(raw: Any) -> bytes:  # noqa: ANN401 - of a library without types
    library = importlib.import_module("rawpy")
    with suppress(library.LibRawError):
        found = raw.extract_thumb()
        if found.format == library.ThumbFormat.JPEG:
            return bytes(found.data)
    return b""


def _exif_of_tags(stream: BinaryIO, name: str) -> bytes | None:
    """EXIF data among the tags of a file that is built like TIFF."""
    stream.seek(0)
    if not stream.read(4).startswith((b"II*\0", b"MM\0*")):
        return None
    with suppress(ValueError, struct.error, OSError):
        return tiff_tags.read_tags(stream, headers.read_tiff_pages(stream)[0], name).exif
    return None


def _exif_of_jpeg(thumbnail: bytes) -> bytes | None:
    """EXIF data of the preview that cameras put into their files."""
    with suppress(ValueError, OSError), library_errors():
        found = Image.open(io.BytesIO(thumbnail), formats=("JPEG",)).info.get("exif")
        return strip_prefix(found) if isinstance(found, bytes) and found else None
    return None
