"""What surrounds every decoding: the bound on sizes, silence, and one kind of error for all kinds of damage."""

from __future__ import annotations

import io
import logging
import os
import stat
import struct
import sys
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from PIL import Image, UnidentifiedImageError

from mair_cli.errors import ImageError

DEFAULT_MAX_OUTPUT_PIXELS: Final = 1_000_000_000
"""Bound on the pixels of a result, over all its frames, where the caller names none."""

DAMAGE: Final = (
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
    Image.DecompressionBombError,
)
"""What decoders raise on damaged files: their authors did not foresee every damage."""

_LARGEST_STREAM: Final = 4 << 30

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
                f"{_megapixels(self.pixels)}; --max-pixels raises it"
            )


def _megapixels(pixels: int) -> str:
    return f"{pixels / 1e6:,.0f} megapixels" if pixels >= 1e7 else f"{pixels:,} pixels"


@contextmanager
def opened(source: Path | BinaryIO, name: str | None) -> Iterator[tuple[BinaryIO, str]]:
    """A seekable stream of the file, and the name to call it by."""
    if not isinstance(source, Path):
        called = name or "standard input"
        if source.seekable():
            source.seek(0)
            yield source, called
            return
        data = source.read(_LARGEST_STREAM + 1)
        if len(data) > _LARGEST_STREAM:
            raise ImageError(f"{called}: more than {_LARGEST_STREAM >> 30} GiB; give a file instead")
        yield io.BytesIO(data), called
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


@contextmanager
def unwarned() -> Iterator[None]:
    """Silence Python's warnings, one thread at a time."""
    with _pillow_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def guarded(name: str) -> Iterator[None]:
    """Silence the decoders, and turn what they raise into an ImageError naming the file."""
    reader_log = logging.getLogger("tifffile")
    level = reader_log.level
    with unwarned():
        reader_log.setLevel(logging.CRITICAL + 1)
        try:
            with pillow_bound(None):
                yield
        except Image.DecompressionBombError as error:
            raise ImageError(
                f"{name}: it holds a picture larger than its header says, above the limit; --max-pixels raises it"
            ) from error
        except DAMAGE as error:
            raise ImageError(f"{name}: cannot be read: {_reason(error)}") from error
        finally:
            reader_log.setLevel(level)


@contextmanager
def muted() -> Iterator[None]:
    """Keep what C libraries (libtiff, OpenJPEG) write to standard error out of the user's sight.

    They write to the file descriptor itself and offer no other way; while it lasts, nothing else can write there.
    """
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, ValueError, AttributeError):  # there is no standard error
        yield
        return
    try:
        void = os.open(os.devnull, os.O_WRONLY)
        os.dup2(void, 2)
        os.close(void)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def pillow_bound(pixels: int | None) -> Iterator[None]:
    """Make Pillow refuse pictures of more than `pixels` wherever it meets one inside a file; None: none."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None if pixels is None else -(-pixels // 2)  # it refuses at twice this
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _reason(error: BaseException) -> str:
    """One short line."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known format, or damaged"
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, OSError) and error.errno is not None:
        return (error.strerror or "the file is damaged").lower()
    text = " ".join(str(error).split())
    if not text or isinstance(error, LookupError | AttributeError | TypeError | AssertionError):
        return "the file is damaged"
    return f"the file is damaged ({text[:120]})"
