"""How strongly a JPEG file was compressed, on the scale of the Independent JPEG Group, from its quantisation tables.

The encoder of the Independent JPEG Group (libjpeg, Pillow and most programs) scales the example tables of the standard,
ITU-T T.81, annex K.1, by its quality, 1 to 100 (`jpeg_quality_scaling`). Cameras and others have tables of their own.
All are compared by one number, the mean logarithm of their steps: it is the same for the same tables, and whatever an
encoder's own scale is, coarser steps never give a better quality.

On photographs compressed with other tables than the standard ones (flat, steeper, milder, finer in colour), the quality
found is 2 on average from that at which the standard tables do the same damage to the pixels; the weights below are
those with the least such difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

_LUMINANCE: Final = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
_CHROMINANCE: Final = np.full((8, 8), 99)
_CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
_BASELINE: Final = 255
"""The largest step that baseline JPEG can store, and libjpeg's default; encoders may choose 16 bits instead."""

_EXTENDED: Final = 32767
_WEIGHTS: Final = 1 / (1 + np.add.outer(np.arange(8), np.arange(8)))
"""By frequency: where photographs have little to lose, a coarse step does little damage."""

_LUMINANCE_SHARE: Final = 0.7


def jpeg_quality(tables: Mapping[int, Sequence[int]], color: bool) -> int:
    """The quality 1..100 at which the standard tables quantise most nearly as strongly as `tables` do.

    Args:
        tables: quantisation tables by their number, 64 steps each, row by row (as Pillow's `quantization` has them);
            the first is that of luminance, the others are those of chrominance.
        color: whether the picture has chrominance; without it, only the first table counts.
    """
    first, *others = (np.maximum(np.asarray(tables[number], float).reshape(8, 8), 1) for number in sorted(tables))
    others = others if color else []
    largest = _BASELINE if max(table.max() for table in (first, *others)) <= _BASELINE else _EXTENDED
    wanted = _coarseness(first, others)
    return 1 + int(np.abs(_standard_coarseness(largest, bool(others)) - wanted).argmin())


def standard_tables(quality: int, largest: int = _BASELINE) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]]:
    """Tables (8, 8) of luminance and chrominance that libjpeg makes for a quality of 1..100."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    luminance, chrominance = (((table * percent + 50) // 100).clip(1, largest) for table in (_LUMINANCE, _CHROMINANCE))
    return luminance, chrominance


@cache
def _standard_coarseness(largest: int, color: bool) -> npt.NDArray[np.float64]:
    tables = (standard_tables(quality, largest) for quality in range(1, 101))
    return np.array([_coarseness(luminance, [chrominance] if color else []) for luminance, chrominance in tables])


def _coarseness(luminance: npt.NDArray[np.generic], chrominance: Sequence[npt.NDArray[np.generic]]) -> float:
    """Mean logarithm of the steps of the tables; 0 is the finest, all ones."""
    first = float(np.average(np.log(luminance), weights=_WEIGHTS))
    if not chrominance:
        return first
    second = float(np.mean([np.average(np.log(table), weights=_WEIGHTS) for table in chrominance]))
    return _LUMINANCE_SHARE * first + (1 - _LUMINANCE_SHARE) * second
