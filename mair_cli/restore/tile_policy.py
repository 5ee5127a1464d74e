"""How large tiles are, and how many run at once: the policy behind `--tile auto`.

Two things speak for small tiles: they need less memory, and the caches of a CPU hold them. One speaks for large ones:
less of each is overlap. So `auto` takes the size that measured fastest on the kind of device, on a CPU for the kind of
network, and less where memory is short.
"""

from __future__ import annotations

from dataclasses import dataclass

from mair_cli.restore.settings import SMALLEST_TILE

DEFAULT_OVERLAP = 16
"""Pixels that neighbouring tiles share, unless the user says otherwise."""

_SHARE = 0.5  # of the free memory; the rest is for other programs and for the error of the estimate
_GPU_SIDE = 512
_GPU_BATCH = 8
_STEP = 8


@dataclass(frozen=True, slots=True)
class TileChoice:
    """Largest tile side in input pixels (0: the whole image) and tiles per call."""

    tile: int
    batch: int


def choose_tile(
    height: int, width: int, *, bytes_per_pixel: int, free: int, side_on_cpu: int | None, side: int | None = None
) -> TileChoice:
    """Choose for an image of `height` × `width` pixels.

    Args:
        height: rows.
        width: columns.
        bytes_per_pixel: the network's `memory_per_pixel`.
        free: free bytes of the device.
        side_on_cpu: the network's, where a CPU computes; None on other devices.
        side: of the tiles, 0 for the whole image, where it is given: only the number of tiles per call is chosen.

    Returns:
        The choice. An image no larger than the best tile is not cut at all.
    """
    pixels = int(free * _SHARE) // bytes_per_pixel
    if side is None:
        best = _GPU_SIDE if side_on_cpu is None else side_on_cpu
        side = max(SMALLEST_TILE, min(best, int(pixels**0.5) // _STEP * _STEP))
        if height * width <= min(pixels, side * side):
            side = 0
    # On a CPU more than one tile at a time is slower.
    batch = min(_GPU_BATCH, pixels // side**2) if side and side_on_cpu is None else 1
    return TileChoice(side, max(1, batch))
