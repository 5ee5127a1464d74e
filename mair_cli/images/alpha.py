"""The colour under transparency: nobody sees it, but a network that restores the picture would.

Pixels of opacity 0 keep whatever colour their program left there, mostly black or white. A network looks at neighbours,
so that this colour would come out beside it, in the visible edge.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mair_cli.images.picture import Picture, Samples, full_scale

_Floats = npt.NDArray[np.float32]


def fill_hidden_color(picture: Picture) -> Samples:
    """The picture's colour with that of wholly transparent pixels replaced by what is visible around them.

    Returns:
        Samples of the shape and type of `picture.color`, equal to it wherever the opacity is above 0; `picture.color`
        itself where nothing, or everything, is wholly transparent.
    """
    color, alpha = picture.color, picture.alpha
    if alpha is None or alpha.all() or not alpha.any():
        return color
    weight: _Floats = np.divide(alpha, full_scale(alpha), dtype=np.float32)[..., None]
    known: _Floats = color.reshape(*color.shape[:2], -1).astype(np.float32)
    filled = _fill(known, weight).reshape(color.shape)
    filled = filled if color.dtype == np.float32 else np.rint(filled)
    hidden = (alpha == 0) if color.ndim == 2 else (alpha == 0)[..., None]
    result: Samples = np.where(hidden, filled.astype(color.dtype), color)
    return result


def _fill(color: _Floats, weight: _Floats) -> _Floats:
    """Fill (H, W, C) where `weight` (H, W, 1) is 0: the mean of the smallest block around that holds anything visible.

    Blocks of 2×2 pixels, 4×4 and so on ("push-pull", after Gortler et al., "The lumigraph", SIGGRAPH 1996, 3.4).
    """
    if weight.all() or weight.shape[:2] == (1, 1):
        return color
    sums, weights = _halve(color * weight), _halve(weight)
    seen: _Floats = np.divide(sums, np.maximum(weights, np.float32(1e-12)), dtype=np.float32)
    means = _fill(seen, weights.clip(max=1))
    around = means.repeat(2, axis=0).repeat(2, axis=1)[: color.shape[0], : color.shape[1]]
    return np.where(weight > 0, color, around)


def _halve(values: _Floats) -> _Floats:
    """Sums over blocks of 2×2."""
    padded = np.pad(values, ((0, values.shape[0] % 2), (0, values.shape[1] % 2), (0, 0)))
    height, width, channels = padded.shape
    blocks: _Floats = padded.reshape(height // 2, 2, width // 2, 2, channels).sum(axis=(1, 3))
    return blocks
