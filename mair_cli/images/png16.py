"""PNG with 16 bits per sample, read and written whole: Pillow reduces colour of that depth to 8 bits without a word.

Follows the PNG specification, third edition (https://www.w3.org/TR/png-3/); names of filters and passes are its own.
"""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from mair_cli.images.formats import DEFLATE_LEVEL
from mair_cli.images.headers import PNG_SIGNATURE, PngHeader

Bytes: TypeAlias = npt.NDArray[np.uint8]
Deep: TypeAlias = npt.NDArray[np.uint16]

_ADAM7: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column, first row, column step and row step of each pass of an interlaced file."""

_COLOR_TYPES: Final = {1: 0, 2: 4, 3: 2, 4: 6}
_BLOCK_BYTES: Final = 1 << 20  # bytes of rows filtered and compressed at a time


def read_png16(stream: BinaryIO, header: PngHeader, allow_truncated: bool = False) -> Deep:
    """Decode the first picture of a PNG file of 16 bits per sample.

    Args:
        stream: the file, seekable.
        header: its header, from `read_png_header`.
        allow_truncated: whether missing samples are left black instead.

    Returns:
        (H, W, C) samples, native byte order, C as `header.channels`; a transparent colour is not looked at.

    Raises:
        ValueError, zlib.error: the data are damaged or incomplete.
    """
    passes = _ADAM7 if header.interlaced else ((0, 0, 1, 1),)
    pixel = 2 * header.channels
    shapes = [
        (-(-max(header.height - row, 0) // down), -(-max(header.width - column, 0) // right))
        for column, row, right, down in passes
    ]
    shapes = [(rows, columns) if rows and columns else (0, 0) for rows, columns in shapes]
    data = _inflate(stream, sum(rows * (1 + columns * pixel) for rows, columns in shapes), allow_truncated)
    image = np.empty((header.height, header.width, header.channels), np.uint16)
    start = 0
    for (column, row, right, down), (rows, columns) in zip(passes, shapes, strict=True):
        if not rows:
            continue
        stop = start + rows * (1 + columns * pixel)
        lines = data[start:stop].reshape(rows, 1 + columns * pixel)
        if lines[:, 0].max() > 4:
            raise ValueError("a line has an unknown filter")
        _unfilter()(lines, pixel)
        samples = np.ascontiguousarray(lines[:, 1:]).view(">u2").reshape(rows, columns, header.channels)
        image[row::down, column::right] = samples
        start = stop
    return image


def _inflate(stream: BinaryIO, size: int, allow_truncated: bool) -> Bytes:
    """The compressed part of the file, unpacked to exactly `size` bytes, never to more."""
    unpacker = zlib.decompressobj()
    data = np.zeros(size, np.uint8)
    filled = 0
    for content in _pixel_chunks(stream, allow_truncated):
        piece = unpacker.decompress(content, size - filled) if filled < size else b""
        data[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
        filled += len(piece)
        if filled == size:
            return data
    if allow_truncated:
        return data
    raise ValueError(f"its pixels end early, after {filled} of {size} bytes")


def _pixel_chunks(stream: BinaryIO, allow_truncated: bool) -> Iterator[bytes]:
    stream.seek(len(PNG_SIGNATURE))
    while True:
        head = stream.read(8)
        if len(head) < 8:
            return
        length, name = struct.unpack(">I4s", head)
        if name != b"IDAT":
            stream.seek(length + 4, 1)
            if name == b"IEND":
                return
            continue
        content, check = stream.read(length), stream.read(4)
        if allow_truncated and len(check) < 4:
            yield content
            return
        if len(content) < length or check != struct.pack(">I", zlib.crc32(name + content)):
            raise ValueError("a block of pixels is damaged")
        yield content


@functools.cache
def _unfilter() -> Callable[[Bytes, int], None]:
    """The loop that undoes the filters, compiled on first use: each byte needs the one before it."""
    from mair_cli.compiling import compile_kernel  # numba is slow to import

    return compile_kernel(_unfilter_lines, (Path(__file__),), {"nogil": True})


def _unfilter_lines(lines: Bytes, pixel: int) -> None:
    """Undo the filters in place. `lines` (rows, 1 + bytes): kind of filter, bytes; `pixel`: bytes of a pixel."""
    rows, length = lines.shape
    for y in range(rows):
        kind = lines[y, 0]
        for x in range(1, length):
            left = np.int64(lines[y, x - pixel]) if x > pixel else np.int64(0)
            up = np.int64(lines[y - 1, x]) if y > 0 else np.int64(0)
            if kind == 0:
                guess = np.int64(0)
            elif kind == 1:
                guess = left
            elif kind == 2:
                guess = up
            elif kind == 3:
                guess = (left + up) // 2
            else:
                corner = np.int64(lines[y - 1, x - pixel]) if y > 0 and x > pixel else np.int64(0)
                to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
                guess = up if to_up <= to_corner else corner
                if to_left <= to_up and to_left <= to_corner:
                    guess = left
            lines[y, x] = (np.int64(lines[y, x]) + guess) & 255


def write_png16(stream: BinaryIO, samples: Deep, ancillary: list[tuple[bytes, bytes]]) -> None:
    """Write a PNG file of 16 bits per sample.

    Args:
        stream: where to; written from front to back.
        samples: (H, W, C) uint16, C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.
        ancillary: chunks to put before the pixels, names and contents.
    """
    height, width, channels = samples.shape
    stream.write(PNG_SIGNATURE)
    _put_chunk(stream, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, _COLOR_TYPES[channels], 0, 0, 0))
    for name, content in ancillary:
        _put_chunk(stream, name, content)
    packer = zlib.compressobj(DEFLATE_LEVEL, strategy=zlib.Z_FILTERED)
    step = max(1, _BLOCK_BYTES // (width * channels * 2))
    above = np.zeros((1, width * channels * 2), np.uint8)
    for row in range(0, height, step):
        block = np.ascontiguousarray(samples[row : row + step].astype(">u2")).view(np.uint8).reshape(-1, above.shape[1])
        packed = packer.compress(_filter(block, above, 2 * channels).tobytes())
        if packed:
            _put_chunk(stream, b"IDAT", packed)
        above = block[-1:]
    _put_chunk(stream, b"IDAT", packer.flush())
    _put_chunk(stream, b"IEND", b"")


def _put_chunk(stream: BinaryIO, name: bytes, content: bytes) -> None:
    stream.write(struct.pack(">I", len(content)) + name + content)
    stream.write(struct.pack(">I", zlib.crc32(name + content)))


def _filter(block: Bytes, above: Bytes, pixel: int) -> Bytes:
    """Filtered lines (rows, 1 + bytes), each by the filter that leaves the least sum (PNG specification, 12.7)."""
    up = np.concatenate([above, block[:-1]]).astype(np.int16)
    left, corner = np.zeros_like(up), np.zeros_like(up)
    left[:, pixel:], corner[:, pixel:] = block[:, :-pixel], up[:, :-pixel]
    to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
    nearest = np.where(to_up <= to_corner, up, corner)
    nearest = np.where((to_left <= to_up) & (to_left <= to_corner), left, nearest)
    guesses = (np.int16(0), left, up, (left + up) // 2, nearest)
    tried = [(block - guess).astype(np.uint8) for guess in guesses]
    sums = np.stack([np.abs(lines.view(np.int8).astype(np.int16)).sum(axis=1, dtype=np.int64) for lines in tried])
    best = sums.argmin(axis=0)
    chosen = np.empty((block.shape[0], block.shape[1] + 1), np.uint8)
    chosen[:, 0] = best
    for kind, lines in enumerate(tried):
        chosen[best == kind, 1:] = lines[best == kind]
    return chosen
