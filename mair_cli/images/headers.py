"""What Pillow does not tell of a file before decoding it: how deep its samples are, and how they are stored.

Pillow opens several kinds of deep pictures as 8 bits without a word, so the headers are read here. The functions take
the beginning of a file, or a seekable stream, and raise ValueError (struct.error) where a file is damaged.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_PNG_COLOR: Final = (b"gAMA", b"cHRM", b"sRGB", b"cICP")
_MAX_METADATA_CHUNK: Final = 1 << 20  # bytes of a chunk before the pixels that is worth reading
_MAX_PAGES: Final = 10_000
_DNG_VERSION: Final = 50706
_SENSOR_PHOTOMETRICS: Final = (32803, 34892)  # colour filter array, linear raw
_JPEG_MARKER: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # what neither data nor restarts look like
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9


@dataclass(frozen=True)
class PngHeader:
    """The fixed header of a PNG file, and what else precedes its pixels.

    Attributes:
        depth: bits per sample; color_type: 0 gray, 2 RGB, 3 palette, 4 gray and alpha, 6 RGB and alpha.
        transparent: the colour that stands for transparency (one or three samples of `depth` bits), if any.
        color: chunks that tell what the colours mean, by name.
    """

    width: int
    height: int
    depth: int
    color_type: int
    interlaced: bool
    transparent: tuple[int, ...] | None
    color: tuple[tuple[bytes, bytes], ...]

    @property
    def channels(self) -> int:
        """Samples per pixel."""
        return {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[self.color_type]

    @property
    def decoded_bytes(self) -> int:
        """About how many bytes the compressed part unpacks to."""
        return self.height * (self.width * self.channels * self.depth + 7) // 8


def png_chunks(stream: BinaryIO, largest: int) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of a PNG file's chunks in order; contents longer than `largest` are left out (empty)."""
    stream.seek(len(PNG_SIGNATURE))
    while True:
        head = stream.read(8)
        if len(head) < 8:
            return
        length, name = struct.unpack(">I4s", head)
        if length > 2**31 - 1:
            raise ValueError("a chunk has an impossible length")
        content = stream.read(length) if length <= largest else b""
        stream.seek(length - len(content) + 4, os.SEEK_CUR)
        yield name, content


def read_png_header(stream: BinaryIO) -> PngHeader:
    """All that precedes the pixels of a PNG file."""
    fields: tuple[int, ...] | None = None
    transparent: tuple[int, ...] | None = None
    color = []
    for name, content in png_chunks(stream, _MAX_METADATA_CHUNK):
        if name == b"IDAT":
            break
        if name == b"IHDR":
            fields = struct.unpack(">IIBBBBB", content)
        elif name == b"tRNS" and fields and fields[3] in (0, 2):
            transparent = struct.unpack(">H" if fields[3] == 0 else ">HHH", content)
        elif name in _PNG_COLOR:
            color.append((name, content))
    if fields is None or fields[3] not in (0, 2, 3, 4, 6) or fields[2] not in (1, 2, 4, 8, 16):
        raise ValueError("its header makes no sense")
    width, height, depth, color_type, _, _, interlace = fields
    return PngHeader(width, height, depth, color_type, bool(interlace), transparent, tuple(color))


@dataclass(frozen=True)
class TiffPage:
    """What one directory of a TIFF file says of its pixels (TIFF 6.0).

    Attributes:
        offset: where the directory lies.
        bits: bits per sample; samples: samples per pixel.
        kind: sample format: 1 unsigned, 2 signed, 3 floats, 5 and 6 complex.
        photometric: 0 white is zero, 1 black is zero, 2 RGB, 3 palette, 5 CMYK, 6 YCbCr, 8 Lab.
        extra: meaning of the samples beyond the colour: 1 premultiplied alpha, 2 alpha, 0 unknown.
        reduced: whether it is a smaller copy of another page.
        orientation: 1..8 as in EXIF.
        jpeg: whether the samples are JPEG-compressed (with loss).
        webp: whether they are WebP-compressed.
    """

    offset: int
    width: int
    height: int
    bits: int
    samples: int
    kind: int
    photometric: int
    extra: tuple[int, ...]
    reduced: bool
    orientation: int
    jpeg: bool
    webp: bool

    @property
    def deep(self) -> bool:
        """Whether the samples have more than 8 bits."""
        return self.bits > 8

    @property
    def pillow_keeps(self) -> bool:
        """Whether Pillow decodes it, and all of a sample's bits."""
        gray = self.samples == 1 and self.photometric in (0, 1)
        return not self.webp and (not self.deep or (gray and (self.bits, self.kind) in ((16, 1), (32, 3))))


class _TiffReader:
    """Directories of a TIFF or BigTIFF file."""

    _SIZES: Final = dict(enumerate((1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4), start=1)) | dict.fromkeys((16, 17, 18), 8)
    """Bytes of a value, by its type."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        head = stream.read(16)
        self.order = {b"II": "<", b"MM": ">"}.get(head[:2], "<")
        self.big = struct.unpack_from(f"{self.order}H", head, 2)[0] == 43
        self.first = int(struct.unpack_from(self.order + ("Q" if self.big else "L"), head, 8 if self.big else 4)[0])

    def directory(self, offset: int) -> tuple[dict[int, tuple[int, ...]], int]:
        """Whole numbers of the directory at `offset` (the first 16 of each list), and the place of the next one."""
        count_code, entry_size, code = ("Q", 20, "Q") if self.big else ("H", 12, "L")
        self.stream.seek(offset)
        count = self._unpack(count_code, self.stream.read(struct.calcsize(f"<{count_code}")))
        if count > 4096:
            raise ValueError("a directory has too many entries")
        block = self.stream.read(entry_size * count + struct.calcsize(f"<{code}"))
        following = self._unpack(code, block[entry_size * count :]) if len(block) > entry_size * count else 0
        values, claimed = {}, 0
        for at in range(0, entry_size * count, entry_size):
            tag, kind = struct.unpack_from(f"{self.order}HH", block, at)
            items = int(struct.unpack_from(f"{self.order}{code}", block, at + 4)[0])
            claimed += items * self._SIZES.get(kind, 1)
            if kind in (1, 3, 4, 16):
                values[tag] = self._numbers(kind, items, block[at + 4 + struct.calcsize(f"<{code}") : at + entry_size])
        if claimed > 4 * self.size + _MAX_METADATA_CHUNK:
            raise ValueError("its directory claims more than the file holds")
        return values, following

    def _numbers(self, kind: int, items: int, field: bytes) -> tuple[int, ...]:
        code = {1: "B", 3: "H", 4: "L", 16: "Q"}[kind]
        size, taken = self._SIZES[kind], min(items, 16)
        if items * size > len(field):
            self.stream.seek(self._unpack("Q" if self.big else "L", field))
            field = self.stream.read(taken * size)
        return struct.unpack(f"{self.order}{taken}{code}", field[: taken * size])

    def _unpack(self, code: str, data: bytes) -> int:
        return int(struct.unpack(self.order + code, data)[0])


def read_tiff_pages(stream: BinaryIO) -> list[TiffPage]:
    """All directories of a TIFF file, in order."""
    reader = _TiffReader(stream)
    pages: list[TiffPage] = []
    seen: set[int] = set()
    offset = reader.first
    while offset and offset not in seen:
        if len(pages) == _MAX_PAGES:
            raise ValueError(f"it has more than {_MAX_PAGES} pages")
        seen.add(offset)
        tags, following = reader.directory(offset)
        pages.append(_tiff_page(offset, tags))
        offset = following
    if not pages:
        raise ValueError("it holds no picture")
    return pages


def tiff_is_raw(stream: BinaryIO) -> bool:
    """Whether the first directory of a TIFF file tells of a sensor's samples: DNG (tag 50706), or a colour filter."""
    try:
        reader = _TiffReader(stream)
        tags, _ = reader.directory(reader.first)
    except (ValueError, struct.error):
        return False  # reading will fail too, and say why
    return _DNG_VERSION in tags or (tags.get(262) or (0,))[0] in _SENSOR_PHOTOMETRICS


def check_tiff_directory(stream: BinaryIO, offset: int) -> None:
    """Raise ValueError where a directory claims more than its file can hold."""
    _TiffReader(stream).directory(offset)


def _tiff_page(offset: int, tags: dict[int, tuple[int, ...]]) -> TiffPage:
    def one(tag: int, default: int) -> int:
        return (tags.get(tag) or (default,))[0]

    return TiffPage(
        offset=offset,
        width=one(256, 0),
        height=one(257, 0),
        bits=max(tags.get(258) or (1,)),
        samples=one(277, 1),
        kind=max(tags.get(339) or (1,)),
        photometric=one(262, 1),
        extra=tags.get(338, ()),
        reduced=bool(one(254, 0) & 1),
        orientation=one(274, 1) if 1 <= one(274, 1) <= 8 else 1,
        jpeg=one(259, 1) in (6, 7),
        webp=one(259, 1) == 50001,
    )


def jpeg2000_depth(head: bytes) -> tuple[int, int]:
    """Bits per sample and channels told by the SIZ marker in the beginning of a JPEG 2000 file (ISO 15444-1, A.5.1)."""
    at = head.find(b"\xff\x4f\xff\x51")
    if at < 0:
        raise ValueError("it has no JPEG 2000 header")
    channels = struct.unpack_from(">H", head, at + 40)[0]
    depths = head[at + 42 : at + 42 + 3 * channels : 3]
    return max((depth & 0x7F) + 1 for depth in depths), channels


def avif_depth(head: bytes) -> int:
    """Bits per sample told by the first AV1 configuration (av1C) in the beginning of an AVIF file; 8 if none."""
    at = head.find(b"av1C")
    if at < 0 or at + 7 > len(head):
        return 8
    flags = head[at + 6]
    return (12 if flags & 0x20 else 10) if flags & 0x40 else 8


def avif_code_points(head: bytes) -> tuple[int, int] | None:
    """Code points (H.273) of primaries and transfer function in the beginning of an AVIF file; None for none."""
    at = head.find(b"colrnclx")
    return struct.unpack_from(">HH", head, at + 8) if 0 <= at <= len(head) - 12 else None


def jpeg2000_profile(stream: BinaryIO) -> bytes | None:
    """The ICC profile in the header of a JP2 file (ISO 15444-1, I.5.3.3); None for none."""
    stream.seek(0)
    head = stream.read(_MAX_METADATA_CHUNK)
    at = head.find(b"colr\x02", 0, max(head.find(b"jp2c"), 0))
    if at < 4:
        return None
    length = int.from_bytes(head[at - 4 : at], "big")
    return head[at + 7 : at - 4 + length]


@dataclass(frozen=True)
class PnmHeader:
    """Header of a portable pixmap: `kind` "P2", "P3", "P5" or "P6"; the samples begin at `start`."""

    kind: str
    width: int
    height: int
    largest: int
    start: int


def read_pnm_header(head: bytes) -> PnmHeader | None:
    """The header of a gray or colour pixmap; None for other kinds (bitmaps, floats)."""
    gap = rb"(?:\s|#[^\n\r]*[\n\r])+"
    number = rb"(\d{1,9})"
    found = re.match(rb"(P[2356])" + gap + number + gap + number + gap + number + rb"(?:#[^\n\r]*)?\s", head)
    if found is None:
        return None
    kind, width, height, largest = found.groups()
    return PnmHeader(kind.decode(), int(width), int(height), int(largest), found.end())


def webp_is_lossless(head: bytes) -> bool:
    """Whether the first frame in the beginning of a WebP file is of the lossless kind (VP8L)."""
    lossless, lossy = head.find(b"VP8L"), head.find(b"VP8 ")
    return lossless >= 0 and (lossy < 0 or lossless < lossy)


def webp_size(head: bytes) -> tuple[int, int] | None:
    """Width and height of a WebP file's canvas; None where its first chunk is of an unknown kind."""
    kind, data = head[12:16], head[20:30]
    if len(data) < 10:
        return None
    if kind == b"VP8X":
        return int.from_bytes(data[4:7], "little") + 1, int.from_bytes(data[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF
    return None


def gif_size(head: bytes) -> tuple[int, int] | None:
    """Width and height of a GIF file's canvas, its first frame included; None where the beginning holds no frame."""
    if len(head) < 13:
        return None
    width, height, flags = struct.unpack_from("<HHB", head, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    while head[at : at + 1] == b"!":  # extensions: a label, and blocks up to an empty one
        at += 2
        while at < len(head) and head[at]:
            at += 1 + head[at]
        at += 1
    if head[at : at + 1] != b"," or len(head) < at + 9:
        return None
    left, top, across, down = struct.unpack_from("<4H", head, at + 1)
    return max(width, left + across), max(height, top + down)


def jpeg_scans(stream: BinaryIO, most: int) -> int:
    """Number of scans of a JPEG file, counted no further than `most`."""
    stream.seek(0)
    data = stream.read()
    at, scans = 2, 0
    while scans < most and (found := _JPEG_MARKER.search(data, at)) is not None:
        marker = found[0][1]
        if marker == _END_OF_IMAGE:
            break
        scans += marker == _START_OF_SCAN
        length = int.from_bytes(data[found.end() : found.end() + 2], "big")
        at = found.end() + max(length, 2)
    return scans
