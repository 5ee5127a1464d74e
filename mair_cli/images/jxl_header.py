"""The beginning of a JPEG XL file, read before its library decodes anything (ISO 18181-1, annex D; 18181-2)."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

SIGNATURES: Final = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
_MOST_BOXES: Final = 1000
_MOST_XMP: Final = 1 << 24  # bytes
_ENOUGH: Final = 256  # bytes of the codestream that hold all that is read here
_RATIOS: Final = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))

_Choice = tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]
_SIZES: Final[_Choice] = ((1, 9), (1, 13), (1, 18), (1, 30))


@dataclass(frozen=True)
class JxlHeader:
    """What a file says of its picture.

    Attributes:
        width, height: pixels as stored, before any turning.
        bits: per sample; floating: whether the samples are floats.
        animated: whether there are several frames.
        lossless: whether the samples are stored as they are, so that nothing need have been lost.
        xmp: an XMP packet.
    """

    width: int
    height: int
    bits: int = 8
    floating: bool = False
    animated: bool = False
    lossless: bool = False
    xmp: bytes | None = None


class _Bits:
    """Numbers of a bit stream, lowest bit first."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise ValueError("its header ends early")
        taken = self._value & ((1 << count) - 1)
        self._value >>= count
        self._left -= count
        return taken

    def choose(self, choices: _Choice) -> int:
        """One of four (offset, bits)."""
        offset, bits = choices[self.take(2)]
        return offset + self.take(bits)

    def size(self) -> tuple[int, int]:
        """Width and height (SizeHeader)."""
        small = self.take(1)
        height = 8 * (1 + self.take(5)) if small else self.choose(_SIZES)
        ratio = self.take(3)
        if ratio:
            across, down = _RATIOS[ratio - 1]
            return height * across // down, height
        return (8 * (1 + self.take(5)) if small else self.choose(_SIZES)), height


def read_jxl_header(stream: BinaryIO) -> JxlHeader:
    """The header of a codestream, bare or in boxes; raises ValueError where it makes no sense."""
    codestream, xmp = _codestream(stream)
    if codestream[:2] != SIGNATURES[0]:
        raise ValueError("it holds no codestream")
    bits = _Bits(codestream[2:])
    width, height = bits.size()
    if bits.take(1):  # all as usual: 8 bits, lossy
        return JxlHeader(width, height, xmp=xmp)
    animated = False
    if bits.take(1):
        bits.take(3)  # orientation: the library turns the picture
        if bits.take(1):
            bits.size()
        if bits.take(1):
            return JxlHeader(width, height, xmp=xmp)  # a preview, which no encoder writes
        animated = bool(bits.take(1))
        if animated:
            return JxlHeader(width, height, animated=True, xmp=xmp)
    floating = bool(bits.take(1))
    depth = bits.choose(((32, 0), (16, 0), (24, 0), (1, 6)) if floating else ((8, 0), (10, 0), (12, 0), (1, 6)))
    if floating:
        bits.take(4)
    bits.take(1)  # whether 16-bit buffers are enough
    extra = bits.choose(((0, 0), (1, 0), (2, 4), (1, 12)))
    usual = extra <= 1 and (not extra or bits.take(1))  # alpha of 8 bits; other channels are described at length
    return JxlHeader(width, height, depth, floating, lossless=bool(usual) and not bits.take(1), xmp=xmp)


def _codestream(stream: BinaryIO) -> tuple[bytes, bytes | None]:
    """The beginning of the codestream, and the XMP packet."""
    stream.seek(0)
    head = stream.read(_ENOUGH)
    if head.startswith(SIGNATURES[0]):
        return head, None
    found, xmp = b"", None
    for name, length in _boxes(stream):
        if name in (b"jxlc", b"jxlp") and len(found) < _ENOUGH:
            content = stream.read(min(length, _ENOUGH + 4))
            found += content[4:] if name == b"jxlp" else content
        elif name == b"xml " and length <= _MOST_XMP:
            xmp = stream.read(length)
    return found, xmp


def _boxes(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Name and length of each box; the stream stands at its content."""
    end, at = stream.seek(0, os.SEEK_END), 0
    for _ in range(_MOST_BOXES):
        stream.seek(at)
        head = stream.read(16)
        if len(head) < 8:
            return
        length, name, start = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1 and len(head) == 16:
            length, start = struct.unpack_from(">Q", head, 8)[0], 16
        following = at + length if length else end
        if following < at + start:
            raise ValueError("a box has an impossible length")
        stream.seek(at + start)
        yield name, min(following, end) - at - start
        at = following
