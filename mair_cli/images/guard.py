"""What surrounds every decoding: the bound on sizes, silence, and one kind of error for all kinds of damage."""

from __future__ import annotations

import ctypes
import io
import logging
import os
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO, Final

from PIL import Image, ImageFile, UnidentifiedImageError

from mair_cli.errors import ImageError
from mair_cli.host_memory import free_host_memory
from mair_cli.store.remote import Address, Place

_log = logging.getLogger(__name__)

DEFAULT_MAX_OUTPUT_PIXELS: Final = 1_000_000_000
"""Bound on the pixels of a result, over all its frames, where the caller names none."""

_DECODER_ERRORS: Final = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    SyntaxError,
    EOFError,
    RuntimeError,
    ImportError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""What decoding libraries raise on damaged files: their authors did not foresee every damage."""

DAMAGE: Final = (OSError, ValueError, EOFError, MemoryError, struct.error, zlib.error)
"""What damage looks like once `library_errors` has spoken for the libraries. Any other error is a fault of ours."""

_ALWAYS_ALLOWED: Final = 1 << 28  # not worth asking the system how much is free
_MAX_STREAM_BYTES: Final = 4 << 30
_CHUNK_BYTES: Final = 1 << 20

_pillow_lock = threading.RLock()
"""Pillow's bound on pixels and Python's warning filters are global: one thread at a time changes them."""


@dataclass(frozen=True)
class Limit:
    """Bound on a result: `pixels` in all, for an enlargement by `scale`."""

    pixels: int
    scale: int

    def check(self, width: int, height: int, frames: int, name: str, pixels: int | None = None) -> None:
        """Raise ImageError where frames of this size (or `pixels` in all) would make too large a result."""
        made = (width * height * frames if pixels is None else pixels) * self.scale**2
        if made > self.pixels:
            times = f" ×{self.scale}" if self.scale > 1 else ""
            count = f", {frames} frames," if frames > 1 else ""
            raise ImageError(
                f"{name}: {width}×{height}{count}{times} makes {_megapixels(made)}, more than the limit of "
                f"{_megapixels(self.pixels)}; `max_pixels` raises it"
            )

    @property
    def input_pixels(self) -> int:
        """The bound as one on what is decoded."""
        return -(-self.pixels // self.scale**2)


def check_memory(needed: int, name: str) -> None:
    """Raise ImageError where decoding takes more bytes than are free now: the machine would stop, not the picture."""
    if needed > _ALWAYS_ALLOWED and needed > (free := free_host_memory()):
        raise ImageError(f"{name}: decoding it takes about {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free")


def _megapixels(pixels: int) -> str:
    return f"{pixels / 1e6:,.0f} megapixels" if pixels >= 1e7 else f"{pixels:,} pixels"


@contextmanager
def open_stream(source: Place | BinaryIO, name: str | None) -> Iterator[tuple[BinaryIO, str]]:
    """A seekable stream of the file, and the name to call it by; what lies elsewhere is fetched whole."""
    if isinstance(source, Address):
        called = name or str(source)
        try:
            data = source.read(_stream_bound())
        except OSError as error:
            raise ImageError(f"{called}: cannot be read: {error.strerror}") from error
        yield io.BytesIO(data), called
        return
    if not isinstance(source, Path):
        called = name or "standard input"
        if _is_device(source):
            raise ImageError(f"{called}: a device holds no picture")
        if source.seekable():
            source.seek(0)
            yield source, called
            return
        yield _in_memory(source, called), called
        return
    called = name or str(source)
    try:
        if not stat.S_ISREG(source.stat().st_mode):  # reading a pipe or a device by its name could wait for ever
            raise ImageError(f"{called}: not a regular file")
        stream = source.open("rb")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise ImageError(f"{called}: cannot be opened: {(reason or str(error)).lower()}") from error
    with stream:
        yield stream, called


def _in_memory(source: BinaryIO, name: str) -> BinaryIO:
    """All of a stream that cannot seek, which may never end: no more than is allowed, and than there is room for."""
    bound = _stream_bound()
    data = io.BytesIO()
    while chunk := source.read(_CHUNK_BYTES):
        if data.tell() + len(chunk) > bound:
            raise ImageError(f"{name}: it goes on after {bound / 2**30:.1f} GiB; give a file instead")
        data.write(chunk)
    data.seek(0)
    return data


def _stream_bound() -> int:
    """Bytes of a stream that may be kept in memory."""
    return min(_MAX_STREAM_BYTES, max(_ALWAYS_ALLOWED, free_host_memory() // 2))


def _is_device(source: BinaryIO) -> bool:
    """Whether a stream comes from a device that could go on for ever."""
    try:
        mode = os.fstat(source.fileno()).st_mode
    except (OSError, AttributeError):  # only in memory
        return False
    return stat.S_ISBLK(mode) or (stat.S_ISCHR(mode) and not source.isatty())


@contextmanager
def warnings_ignored() -> Iterator[None]:
    """Silence Python's warnings, one thread at a time."""
    with _pillow_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def library_errors() -> Iterator[None]:
    """Around calls of a decoding library, and nothing else: what it raises is about the file, so a ValueError.

    OSError, MemoryError and Pillow's DecompressionBombError, which say more, pass.
    """
    try:
        yield
    except (OSError, MemoryError, Image.DecompressionBombError):
        raise
    except _DECODER_ERRORS as error:
        told = "" if isinstance(error, LookupError | AttributeError | TypeError | AssertionError) else str(error)
        raise ValueError(told) from error


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Silence the decoders, and turn what a damaged file makes them and our parsers raise into an ImageError."""
    reader_log = logging.getLogger("tifffile")
    level = reader_log.level
    with warnings_ignored():
        reader_log.setLevel(logging.CRITICAL + 1)
        try:
            with pillow_pixel_limit(None):
                yield
        except Image.DecompressionBombError as error:
            raise ImageError(
                f"{name}: it holds a picture larger than its header says, above the limit; `max_pixels` raises it"
            ) from error
        except DAMAGE as error:
            raise ImageError(f"{name}: cannot be read: {_reason(error)}") from error
        finally:
            reader_log.setLevel(level)


@cache
def silence_libtiff() -> None:
    """Keep Pillow's libtiff from writing its errors to standard error; they come as exceptions too.

    Pillow offers no way to do so, libtiff itself does. Where Pillow's build hides the function, the lines stay.
    """
    from PIL import _imaging

    try:
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)
    except (OSError, AttributeError):
        _log.debug("libtiff cannot be silenced here")


@contextmanager
def pillow_pixel_limit(pixels: int | None) -> Iterator[None]:
    """Make Pillow refuse pictures of more than `pixels` wherever it meets one inside a file; None: none."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None if pixels is None else -(-pixels // 2)  # it refuses at twice this
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


@contextmanager
def truncation_allowed() -> Iterator[None]:
    """Make Pillow decode files that end early as far as they go; what is missing is black or gray."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _reason(error: BaseException) -> str:
    """One short line."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known format, or damaged"
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, OSError) and error.errno is not None:
        return (error.strerror or "the file is damaged").lower()
    text = " ".join(str(error).split())
    if not text:
        return "the file is damaged"
    return f"the file is damaged ({text[:120]})"
