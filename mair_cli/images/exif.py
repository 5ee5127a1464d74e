"""EXIF data, edited in place: the orientation, the size, and the preview, all else is left byte for byte.

Rewriting the whole block would move what cameras point to by absolute places (maker notes) and so destroy it.
An EXIF block is a TIFF file without pixels: https://www.cipa.jp/std/documents/download_e.html?DC-008-Translation-2023-E.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

PREFIX = b"Exif\x00\x00"
"""What precedes EXIF data in a JPEG file."""

_ORIENTATION = 0x0112
_EXIF_POINTER = 0x8769
_WIDTH, _HEIGHT = 0xA002, 0xA003
_ASCII, _SHORT, _LONG = 2, 3, 4


_KINDS = range(1, 14)


@dataclass(frozen=True)
class _Entry:
    """A single whole number of a directory: where its entry lies, and its type."""

    at: int
    tag: int
    kind: int
    value: int


@dataclass(frozen=True)
class _Directory:
    """Where a directory begins, how many entries it has, and those of them that are single whole numbers, in order."""

    start: int
    count: int
    entries: tuple[_Entry, ...]

    @property
    def link(self) -> int:
        """The place of the link to the next directory; in damaged data, the end."""
        return self.start + 2 + 12 * self.count


def strip_prefix(exif: bytes) -> bytes:
    """The data without the "Exif" prefixes that JPEG files put before them, some more than once."""
    while exif.startswith(PREFIX):
        exif = exif[len(PREFIX) :]
    return exif


def orientation_of(exif: bytes | None) -> int:
    """Orientation 1..8 told by EXIF data (without prefix), the first of several; 1 where they tell none."""
    found = _first(_directory(exif, 0), _ORIENTATION) if exif else None
    return found.value if found is not None and 1 <= found.value <= 8 else 1


def reset_orientation(exif: bytes) -> bytes | None:
    """The same data for a picture whose orientation has been applied: orientation 1, no preview of the old picture.

    A first directory that is cut short, or counts more entries than it has, is mended.

    Returns:
        None where the data make no sense as EXIF.
    """
    directory = _directory(exif, 0)
    if directory is None:
        return None
    edited = bytearray(exif)
    for entry in directory.entries:
        if entry.tag == _ORIENTATION:
            _put(edited, entry, 1)
    struct.pack_into(f"{_order(exif)}H", edited, directory.start, directory.count)
    edited[directory.link : directory.link + 4] = bytes(4)  # the second directory holds nothing but the preview
    return bytes(edited)


def with_pixel_size(exif: bytes, width: int, height: int) -> bytes:
    """The same data with the picture's size in pixels, where they give one."""
    pointer = _first(_directory(exif, 0), _EXIF_POINTER)
    directory = _directory(exif, pointer.value) if pointer is not None else None
    edited = bytearray(exif)
    for entry in directory.entries if directory is not None else ():
        if entry.tag in (_WIDTH, _HEIGHT):
            _put(edited, entry, width if entry.tag == _WIDTH else height)
    return bytes(edited)


def text_entry(exif: bytes, tag: int) -> str | None:
    """The text of a tag of the first directory; None where it has none."""
    directory = _directory(exif, 0)
    for at in range(directory.start + 2, directory.link, 12) if directory is not None else ():
        found, kind, length, place = struct.unpack_from(f"{_order(exif)}HHLL", exif, at)
        if found == tag and kind == _ASCII:
            start = place if length > 4 else at + 8
            return exif[start : start + length].split(b"\0")[0].decode("ascii", "replace")
    return None


def append_entry(exif: bytes, tag: int, text: bytes) -> bytes:
    """The same data with a tag of more than three characters in the first directory, which gets a new place at the end.

    Nothing else moves, as places may be told in absolute numbers. Data that make no sense stay as they are.
    """
    directory, order = _directory(exif, 0), _order(exif)
    if directory is None:
        return exif
    block = exif[directory.start + 2 : directory.link]
    entries = {struct.unpack_from(f"{order}H", block, at)[0]: block[at : at + 12] for at in range(0, len(block), 12)}
    even = exif + bytes(len(exif) % 2)
    entries[tag] = struct.pack(f"{order}HHLL", tag, _ASCII, len(text), len(even))
    start = len(even) + len(text) + len(text) % 2
    link = exif[directory.link : directory.link + 4].ljust(4, b"\0")
    head = even[:4] + struct.pack(f"{order}L", start) + even[8:] + text + bytes(len(text) % 2)
    return head + struct.pack(f"{order}H", len(entries)) + b"".join(entries[key] for key in sorted(entries)) + link


def _order(exif: bytes | bytearray) -> str:
    return "<" if exif[:2] == b"II" else ">"


def _first(directory: _Directory | None, tag: int) -> _Entry | None:
    return next((entry for entry in directory.entries if entry.tag == tag), None) if directory is not None else None


def _directory(exif: bytes, start: int) -> _Directory | None:
    """The directory at `start` (0: the first); None where none can be made out.

    What counts is how many entries there are, not how many it says: reading ends where no more fit, and at the first
    that is of no known type (behind the entries stands the link, whose bytes are none).
    """
    if exif[:4] not in (b"II*\x00", b"MM\x00*") or len(exif) < 8:
        return None
    order = _order(exif)
    start = start or struct.unpack_from(f"{order}L", exif, 4)[0]
    if not 8 <= start <= len(exif) - 2:
        return None
    told = struct.unpack_from(f"{order}H", exif, start)[0]
    entries, count = [], 0
    for at in range(start + 2, min(start + 2 + 12 * told, len(exif) - 11), 12):
        tag, kind, values = struct.unpack_from(f"{order}HHL", exif, at)
        if kind not in _KINDS:
            break
        count += 1
        if values == 1 and kind in (_SHORT, _LONG):
            value = struct.unpack_from(order + ("H" if kind == _SHORT else "L"), exif, at + 8)[0]
            entries.append(_Entry(at, tag, kind, value))
    return _Directory(start, count, tuple(entries)) if count or not told else None


def _put(exif: bytearray, entry: _Entry, value: int) -> None:
    """Write one whole number, as a long one, which the directory has room for, where a short one cannot hold it."""
    order = _order(exif)
    kind = entry.kind if value < 2**16 else _LONG
    struct.pack_into(f"{order}H", exif, entry.at + 2, kind)
    struct.pack_into(f"{order}L", exif, entry.at + 8, 0)
    struct.pack_into(order + ("H" if kind == _SHORT else "L"), exif, entry.at + 8, value)
