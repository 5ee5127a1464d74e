"""How noisy a picture was before it was compressed as a JPEG, which rounds most of its noise away.

What remains is in the lower frequencies of the blocks. Their coefficients c were rounded to multiples of a step q, so
that noise of variance v leaves E[(q round(c/q))²] = q² f(√v/q). In the flattest places of a picture v is that of the
noise, the same for all frequencies, plus that of what texture there is, which falls with the frequency, as in
photographs, by its square. Both are fitted to the energies of all coefficients at once.

A picture that is textured everywhere and strongly compressed looks the same as a noisy one. So what is found counts
only where the pixels show some noise too, or where it is more than textures come to.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mair_cli.images.jpeg_quality import standard_tables
from mair_cli.images.picture import LUMA
from mair_cli.restore.pixels import to_unit

_Floats = npt.NDArray[np.floating[Any]]

_LUMA: Final = np.array(LUMA, np.float32)
_LUMA_OF_NOISE: Final = float(np.linalg.norm(_LUMA))  # in luma, of noise that is independent in the three channels
_GROUP: Final = 3  # blocks a side of the places looked at
_FLATTEST: Final = 0.04  # share of the places
_ROWS: Final = 8 * _GROUP
_MOST_PIXELS: Final = 4_000_000
_MARGIN: Final = 2.0  # standard deviations from black and white, where a file cut noise off
_STEP_SHARE: Final = 0.02  # of a step's square: errors of energies that are hardly above 0
_FINE: Final = 88  # from this quality on, compression leaves noise as it is
_SEEN_IN_PIXELS: Final = 1.5  # clean photographs, however textured, look less noisy than this (Kodak24: 1.3)
_BEYOND_TEXTURE: Final = 18.0  # nor do their textures come to more than this (Kodak24: 16.1)

_SIDE: Final = np.arange(8)
_DCT: Final = np.sqrt(np.where(_SIDE == 0, 1, 2) / 8)[:, None] * np.cos((2 * _SIDE + 1) * _SIDE[:, None] * np.pi / 16)
_TAKEN: Final = np.add.outer(_SIDE, _SIDE) >= 2  # the lowest frequencies tell of the picture
_FREQUENCY: Final = np.hypot.outer(_SIDE, _SIDE)[_TAKEN]
_NOISES: Final = np.concatenate([[0.0], np.geomspace(0.7, 70, 80)])
_TEXTURES: Final = np.concatenate([[0.0], np.geomspace(30, 60_000, 36)])


def noise_before_jpeg(image: npt.NDArray[Any], quality: int, seen: float) -> float:
    """σ of 255 of a picture's noise before its compression, where that can be told.

    Args:
        image: (H, W, 3) or (H, W), uint8, uint16 or float32 in [0, 1]; of at least 24 pixels a side.
        quality: of the compression, 1..100.
        seen: σ by the pixels alone, which is returned where more cannot be told.
    """
    if quality >= _FINE:
        return seen
    places, means = _places(image)
    sigma = 0.0
    for _ in range(2):
        margin = _MARGIN * sigma
        inside = (means >= margin) & (means <= 255 - margin)
        sigma = _fitted(places[inside] if inside.sum() > 1 / _FLATTEST else places, quality)
    gray = image.ndim == 2 or bool((image == image[..., :1]).all())
    found = sigma if gray else sigma / _LUMA_OF_NOISE
    trusted = seen >= _SEEN_IN_PIXELS or found >= _BEYOND_TEXTURE
    return max(seen, found) if trusted else seen


def _places(image: npt.NDArray[Any]) -> tuple[_Floats, _Floats]:
    """Mean squares (places, frequencies) of the coefficients of each place, and its mean brightness; of 255."""
    height, width = image.shape[0] // _ROWS * _ROWS, image.shape[1] // _ROWS * _ROWS
    step = _ROWS * max(1, height * width // _MOST_PIXELS)
    energies, means = [], []
    for top in range(0, height, step):
        unit = to_unit(image[top : top + _ROWS, :width])
        luma = 255 * (unit @ _LUMA if unit.ndim == 3 else unit)
        blocks = luma.reshape(_GROUP, 8, width // 8, 8).transpose(0, 2, 1, 3)
        squares = np.square(_DCT @ blocks @ _DCT.T)[..., _TAKEN]
        energies.append(squares.reshape(_GROUP, -1, _GROUP, squares.shape[-1]).mean(axis=(0, 2)))
        means.append(luma.reshape(_ROWS, -1, _ROWS).mean(axis=(0, 2)))
    return np.concatenate(energies), np.concatenate(means)


def _fitted(places: _Floats, quality: int) -> float:
    """The noise, together with some texture, that comes nearest to the energies of the flattest places."""
    expected, squares = _expected(quality), np.square(standard_tables(quality)[0][_TAKEN])
    flattest = np.argsort((places / squares).sum(axis=1), kind="stable")[: max(4, round(_FLATTEST * len(places)))]
    found = places[flattest].mean(axis=0)
    errors = np.square((found - expected) / (expected + _STEP_SHARE * squares)).sum(axis=-1)
    return float(_NOISES[errors.argmin() // len(_TEXTURES)])


@cache
def _expected(quality: int) -> _Floats:
    """Energies (noises, textures, frequencies) of rounded coefficients."""
    steps = standard_tables(quality)[0][_TAKEN]
    variances = np.square(_NOISES)[:, None, None] + _TEXTURES[:, None] / np.square(_FREQUENCY)
    ratios, energies = _rounded_energy()
    expected: _Floats = np.square(steps) * np.interp(np.sqrt(variances) / steps, ratios, energies)
    return expected


@cache
def _rounded_energy() -> tuple[_Floats, _Floats]:
    """The function f, E[round(x)²] for a normal x, at standard deviations from 0.01 to 100."""
    ratios = np.geomspace(0.01, 100, 200)
    energies = []
    for ratio in ratios:
        edges = np.arange(0.5, max(2.0, 6 * ratio) + 1)
        beyond = np.array([math.erfc(edge / (ratio * math.sqrt(2))) for edge in edges])
        energies.append(float(((2 * np.arange(len(edges)) + 1) * beyond).sum()))  # k² is the sum of 1, 3, … 2k - 1
    return ratios, np.array(energies)
