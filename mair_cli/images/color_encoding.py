"""What numbers mean as colours where a file says it without an ICC profile, and the profile that says the same.

AVIF and PNG name primaries and transfer function by code points (ITU-T H.273; "nclx" and cICP), older PNG files give
them as numbers (gAMA, cHRM). No other format can hold these; all can hold an ICC profile (ICC.1:2022).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

_XY = tuple[float, float]
_D65: Final = (0.3127, 0.3290)
_BT709: Final = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65)
_PRIMARIES: Final[Mapping[int, tuple[_XY, _XY, _XY, _XY]]] = MappingProxyType(
    {
        1: _BT709,
        2: _BT709,  # unspecified
        4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.310, 0.316)),
        5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65),
        6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
        7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
        9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
        11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
        12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
    }
)
_GAMMAS: Final[Mapping[int, float | None]] = MappingProxyType(
    # BT.709 and its like count as sRGB, as they do in browsers
    {1: None, 2: None, 4: 2.2, 5: 2.8, 6: None, 8: 1.0, 13: None, 14: None, 15: None}
)
_SRGB_PNG_GAMMA: Final = 0.45455  # what PNG writers give for sRGB
_SRGB_CURVE: Final = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_D50: Final = (0.9642, 1.0, 0.8249)
_BRADFORD: Final = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


@dataclass(frozen=True)
class ColorEncoding:
    """Chromaticities (x, y) of red, green, blue and white, and the exponent of the samples; None for sRGB's curve."""

    primaries: tuple[_XY, _XY, _XY, _XY] = _BT709
    gamma: float | None = None

    @property
    def is_srgb(self) -> bool:
        """Whether it is what a picture without any such information means."""
        return self.gamma is None and bool(np.allclose(self.primaries, _BT709, atol=0.005))

    def icc_profile(self, gray: bool) -> bytes:
        """The same as an ICC profile, for gray or for RGB samples."""
        if self.gamma is None:
            curve = b"para" + struct.pack(">LHH", 0, 3, 0) + _fixed(*_SRGB_CURVE)
        else:
            curve = b"para" + struct.pack(">LHH", 0, 0, 0) + _fixed(self.gamma)
        colors, adaptation = _adapted_to_d50(self.primaries)
        tags = {
            b"desc": _text("gray" if gray else "RGB"),
            b"cprt": _text("CC0"),
            b"wtpt": _xyz(*_D50),
            b"chad": b"sf32" + bytes(4) + _fixed(*adaptation.ravel()),
        }
        if gray:
            tags[b"kTRC"] = curve
        else:
            tags |= {name + b"XYZ": _xyz(*colors[:, index]) for index, name in enumerate((b"r", b"g", b"b"))}
            tags |= {name + b"TRC": curve for name in (b"r", b"g", b"b")}
        return _assembled(b"GRAY" if gray else b"RGB ", tags)


def from_code_points(primaries: int, transfer: int) -> ColorEncoding | None:
    """The encoding that H.273 means by two of its code points; None where no simple profile can say it (PQ, HLG)."""
    if primaries not in _PRIMARIES or transfer not in _GAMMAS:
        return None
    return ColorEncoding(_PRIMARIES[primaries], _GAMMAS[transfer])


def from_png_chunks(chunks: Mapping[bytes, bytes]) -> ColorEncoding | None:
    """The encoding told by a PNG file's cICP, sRGB, gAMA and cHRM, in this order of precedence; None as above."""
    if len(chunks.get(b"cICP", b"")) == 4:
        return from_code_points(*chunks[b"cICP"][:2])
    if b"sRGB" in chunks:
        return ColorEncoding()
    primaries, gamma = _BT709, None
    if len(chunks.get(b"gAMA", b"")) == 4:
        exponent = struct.unpack(">L", chunks[b"gAMA"])[0] / 100_000
        if exponent > 0 and abs(exponent / _SRGB_PNG_GAMMA - 1) > 0.01:
            gamma = 1 / exponent
    if len(chunks.get(b"cHRM", b"")) == 32:
        white, *others = np.array(struct.unpack(">8L", chunks[b"cHRM"])).reshape(4, 2) / 100_000
        found = np.array([*others, white])
        if _makes_sense(found):
            primaries = tuple((float(x), float(y)) for x, y in found)  # type: ignore[assignment]
    return ColorEncoding(primaries, gamma)


def _makes_sense(primaries: npt.NDArray[np.float64]) -> bool:
    """Whether the white lies inside the triangle of the three colours."""
    corners = np.column_stack([primaries, np.ones(4)])
    if abs(np.linalg.det(corners[:3])) < 0.01 or (primaries[:, 1] < 0.01).any():
        return False
    return bool((np.linalg.solve(corners[:3].T, corners[3]) > 0).all())


def _adapted_to_d50(
    primaries: tuple[_XY, _XY, _XY, _XY],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """XYZ of the colours (in columns) under D50, and the matrix that took them there (Bradford's)."""
    *colors, white = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in primaries)
    matrix = np.stack(colors, axis=1)
    matrix = matrix * np.linalg.solve(matrix, white)
    gains = (_BRADFORD @ np.array(_D50)) / (_BRADFORD @ white)
    adaptation = np.linalg.solve(_BRADFORD, gains[:, None] * _BRADFORD)
    return adaptation @ matrix, adaptation


def _fixed(*values: float) -> bytes:
    """Numbers of 16.16 bits."""
    return struct.pack(f">{len(values)}l", *(round(float(value) * 65536) for value in values))


def _xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(*values)


def _text(text: str) -> bytes:
    content = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">LLL4sLL", 0, 1, 12, b"enUS", len(content), 28) + content


def _assembled(space: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    """A display profile of version 4.3."""
    table, data = struct.pack(">L", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += struct.pack(">4sLL", name, start + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    date = (2026, 1, 1, 0, 0, 0)
    kinds = (b"mntr", space, b"XYZ ", *date, b"acsp", _fixed(*_D50))
    head = struct.pack(">L4xL4s4s4s6H4s28x12s", start + len(data), 0x04300000, *kinds)
    return head.ljust(128, b"\0") + table + data
