"""A camera raw file made here: DNG 1.4, uncompressed, sensor with the usual filter of colours."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 10: 8}
_XYZ_TO_CAMERA = (3, -1, 0, -1, 2, 0, 0, 0, 1)


def dng(samples: npt.NDArray[np.uint16], *, orientation: int = 1, size: tuple[int, int] | None = None) -> bytes:
    """A file of the (H, W) samples; `size` (width, height) is what it claims to hold, where that differs."""
    width, height = size or (samples.shape[1], samples.shape[0])
    pixels = samples.astype("<u2").tobytes()
    tags = {
        **{254: _longs(0), 256: _longs(width), 257: _longs(height), 258: _shorts(16), 259: _shorts(1)},
        **{262: _shorts(32803), 271: (2, b"maker\0"), 272: (2, b"camera\0"), 274: _shorts(orientation)},
        **{277: _shorts(1), 278: _longs(height), 279: _longs(len(pixels))},
        **{33421: _shorts(2, 2), 33422: (1, bytes((0, 1, 1, 2))), 50706: (1, bytes((1, 4, 0, 0)))},
        **{50707: (1, bytes((1, 1, 0, 0))), 50708: (2, b"maker camera\0"), 50717: _longs(65535)},
        50721: (10, struct.pack("<18l", *(part for value in _XYZ_TO_CAMERA for part in (value, 1)))),
        **{50728: (5, struct.pack("<6L", 1, 1, 1, 1, 1, 1)), 50778: _shorts(21)},
    }
    values_at = 8 + 2 + 12 * (len(tags) + 1) + 4
    total = values_at + sum(len(data) + len(data) % 2 for _, data in tags.values() if len(data) > 4)
    tags[273] = _longs(total)
    entries, values = b"", b""
    for tag, (kind, data) in sorted(tags.items()):
        field = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack("<L", values_at + len(values))
        values += data + bytes(len(data) % 2) if len(data) > 4 else b""
        entries += struct.pack("<HHL", tag, kind, len(data) // _SIZES[kind]) + field
    return b"II*\0" + struct.pack("<LH", 8, len(tags)) + entries + bytes(4) + values + pixels


def _shorts(*numbers: int) -> tuple[int, bytes]:
    return 3, struct.pack(f"<{len(numbers)}H", *numbers)


def _longs(*numbers: int) -> tuple[int, bytes]:
    return 4, struct.pack(f"<{len(numbers)}L", *numbers)
