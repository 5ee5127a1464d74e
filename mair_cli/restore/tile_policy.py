"""How large tiles are, and how many run at once: the policy behind `--tile auto`.

Two things speak for small tiles: they need less memory, and the caches of a CPU hold them. One speaks for large ones:
less of each is overlap. So `auto` takes the size that measured fastest on the kind of device, and less where memory is
short.
"""

from __future__ import annotations

from dataclasses import dataclass

from mair_cli.networks.settings import MaIRConfig, MaIRUNetConfig, NetworkConfig
from mair_cli.restore.settings import SMALLEST_TILE

DEFAULT_OVERLAP = 16
"""Pixels that neighbouring tiles share, unless the user says otherwise."""

_FLOAT = 4
_SCRATCH = (
    1.5  # what allocators and convolutions keep besides; with it, measured peaks on a CPU are 0.58 to 0.81 of this
)
_SHARE = 0.5  # of the free memory; the rest is for other programs and for the error of the estimate
_CPU_SIDE = 160  # measured: time per pixel is flat from 64 to 200, then rises; more than one tile at a time is slower
_GPU_SIDE = 512
_GPU_BATCH = 8
_STEP = 8


@dataclass(frozen=True, slots=True)
class TileChoice:
    """Largest tile side in input pixels (0: the whole image) and tiles per call."""

    tile: int
    batch: int


def choose_tile(
    height: int, width: int, *, bytes_per_pixel: int, free: int, on_cpu: bool, side: int | None = None
) -> TileChoice:
    """Choose for an image of `height` × `width` pixels.

    `bytes_per_pixel` is what the network takes per input pixel (`memory_per_pixel`), `free` the free bytes of the
    device. An image no larger than the best tile is not cut at all. Where the `side` is given, 0 for the whole image,
    only the number of tiles per call is chosen.
    """
    pixels = int(free * _SHARE) // bytes_per_pixel
    if side is None:
        best = _CPU_SIDE if on_cpu else _GPU_SIDE
        side = max(SMALLEST_TILE, min(best, int(pixels**0.5) // _STEP * _STEP))
        if height * width <= min(pixels, side * side):
            side = 0
    batch = min(_GPU_BATCH, pixels // side**2) if side and not on_cpu else 1
    return TileChoice(side, max(1, batch))


def memory_per_pixel(config: NetworkConfig) -> int:
    """Bytes of activations per input pixel at the network's peak, in float32; an estimate from its settings.

    Counted are the tensors alive at the busiest moment, with C, D, N, R, K = 4 as in `models.blocks` and s the scale:
    within a block the scan (its 4·D outputs, 2·D gated inputs, D features, 4·(R + 2N) projections) and some C-wide
    residuals; in the head the widest feature map at full resolution.
    """
    if isinstance(config, MaIRUNetConfig):
        # Level 1 has the most pixels; its decoder is twice as wide, and the encoder's outputs wait for their use.
        width = 2 * config.dim
        values = _block(width, 8, config.ssm_ratio, config.mlp_ratio) + 2 * width
    else:
        values = max(_block(config.embed_dim, config.d_state, config.ssm_ratio, config.mlp_ratio), _head(config))
    return int(values * _FLOAT * _SCRATCH)


def _block(width: int, states: int, ssm_ratio: float, mlp_ratio: float) -> int:
    inner, rank = int(ssm_ratio * width), -(-width // 16)
    scan = (4 + 3 + 2) * inner + 4 * (rank + 2 * states)
    mlp = 2 * int(mlp_ratio * width)
    return 5 * width + max(scan, mlp)


def _head(config: MaIRConfig) -> int:
    area = config.upscale**2
    if config.upsampler == "pixelshuffle":
        return 2 * config.embed_dim + 2 * 64 * area + 3 * area
    return 3 * config.embed_dim + 3 * 3 * area
