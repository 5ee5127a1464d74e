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
_SHORT, _LONG = 3, 4


@dataclass(frozen=True)
class _Entry:
    """One value of a directory: where it lies, and its type."""

    at: int
    kind: int
    value: int


def strip_prefix(exif: bytes) -> bytes:
    """The data without the "Exif" prefixes that JPEG files put before them, some more than once."""
    while exif.startswith(PREFIX):
        exif = exif[len(PREFIX) :]
    return exif


def orientation_of(exif: bytes | None) -> int:
    """Orientation 1..8 told by EXIF data (without prefix); 1 where they tell none or make no sense."""
    found = _directory(exif, 0)[0].get(_ORIENTATION) if exif else None
    return found.value if found is not None and 1 <= found.value <= 8 else 1


def reset_orientation(exif: bytes) -> bytes | None:
    """The same data for a picture whose orientation has been applied: orientation 1, no preview of the old picture.

    Returns:
        None where the data make no sense as EXIF.
    """
    entries, link = _directory(exif, 0)
    if link is None:
        return None
    edited = bytearray(exif)
    if _ORIENTATION in entries:
        _put(edited, entries[_ORIENTATION], 1)
    edited[link : link + 4] = bytes(4)  # the second directory holds nothing but the preview
    return bytes(edited)


def with_pixel_size(exif: bytes, width: int, height: int) -> bytes:
    """The same data with the picture's size in pixels, where they give one."""
    pointer = _directory(exif, 0)[0].get(_EXIF_POINTER)
    if pointer is None:
        return exif
    entries, _ = _directory(exif, pointer.value)
    edited = bytearray(exif)
    for tag, value in ((_WIDTH, width), (_HEIGHT, height)):
        if tag in entries:
            _put(edited, entries[tag], value)
    return bytes(edited)


def _directory(exif: bytes, start: int) -> tuple[dict[int, _Entry], int | None]:
    """Single whole numbers of the directory at `start` (0: the first), and the place of its link to the next one.

    The link is None where no directory can be made out.
    """
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(exif[:4])
    if order is None or len(exif) < 8:
        return {}, None
    start = start or struct.unpack_from(f"{order}L", exif, 4)[0]
    if not 8 <= start <= len(exif) - 2:
        return {}, None
    count = struct.unpack_from(f"{order}H", exif, start)[0]
    link = start + 2 + 12 * count
    if link + 4 > len(exif):
        return {}, None
    entries = {}
    for at in range(start + 2, link, 12):
        tag, kind, values = struct.unpack_from(f"{order}HHL", exif, at)
        if values == 1 and kind in (_SHORT, _LONG):
            value = struct.unpack_from(order + ("H" if kind == _SHORT else "L"), exif, at + 8)[0]
            entries[tag] = _Entry(at, kind, value)
    return entries, link


def _put(exif: bytearray, entry: _Entry, value: int) -> None:
    """Write one whole number, as a long one, which the directory has room for, where a short one cannot hold it."""
    order = "<" if exif[:2] == b"II" else ">"
    kind = entry.kind if value < 2**16 else _LONG
    struct.pack_into(f"{order}H", exif, entry.at + 2, kind)
    struct.pack_into(f"{order}L", exif, entry.at + 8, 0)
    struct.pack_into(order + ("H" if kind == _SHORT else "L"), exif, entry.at + 8, value)
