"""Running a network over an image, tile by tile, with what memory there is.

Geometry comes from `tiling`, blending from `blending`; this file owns the tensors and the answer to lack of memory. A
batch that does not fit is run one tile at a time. A single tile that does not fit is itself cut into tiles of half its
side, and their blended result takes its place: whatever was finished stays, no pixel is left out,
and later tiles start at the size that is known to fit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mair_cli.errors import MairError
from mair_cli.restore.blending import Canvas, FloatArray
from mair_cli.restore.pixels import allocate, store_rounded, to_unit
from mair_cli.restore.progress import Progress, no_progress
from mair_cli.restore.settings import SMALLEST_TILE
from mair_cli.restore.tiling import TileGrid, plan_tiles
from mair_cli.runtime.memory import is_out_of_memory, release_memory

logger = logging.getLogger(__name__)

TensorFunction = Callable[[Tensor], Tensor]
"""(B, C, h, w) float32 in [0, 1] → (B, C, h·scale, w·scale), any float type."""

_CPU = torch.device("cpu")

AnyNumber = TypeVar("AnyNumber", bound=np.generic)


@dataclass(frozen=True)
class TileFunction:
    """A network as tiles need it.

    Attributes:
        function: the network.
        scale: output side over input side.
        multiple: image and tiles are filled up by reflection to sides that this divides.
        align: as in `tiling.cut_axis`.
        device: where it sees its tensors.
    """

    function: TensorFunction
    scale: int
    multiple: int = 1
    align: int = 1
    device: torch.device = _CPU

    def __call__(self, tiles: list[FloatArray]) -> list[FloatArray]:
        """Run tiles of one size, `(h, w, C)` float32 in [0, 1], in one call; results float32 `(h·scale, w·scale, C)`.

        Raises MairError where the result is not finite; what the network raises passes through.
        """
        height, width = (side * self.scale for side in tiles[0].shape[:2])
        stack = np.stack([_fill_up(tile, self.multiple) for tile in tiles])
        x = torch.from_numpy(stack).to(self.device).permute(0, 3, 1, 2).contiguous()
        y = self.function(x)[:, :, :height, :width].float()
        # Any infinity or NaN makes the sum so: half precision can overflow, and the cast to integers would hide it.
        if not bool(torch.isfinite(y.sum())):
            raise MairError("The network's result is not finite. Use `precision` fp32, or other weights.")
        return list(y.permute(0, 2, 3, 1).contiguous().cpu().numpy())


def run_tiled(
    network: TileFunction,
    image: npt.NDArray[Any],
    *,
    tile: int,
    overlap: int,
    batch: int = 1,
    progress: Progress | None = None,
) -> npt.NDArray[Any]:
    """Restore an image in overlapping, smoothly blended tiles.

    `image` is `(H, W, C)`, uint8, uint16 or float32 in [0, 1]; the result `(H·scale, W·scale, C)` is of the same type.
    `tile` is the largest tile side in input pixels, 0 for the whole image at once; `overlap` the pixels that
    neighbours share at least, at most half a tile. `batch` tiles are run in one call. The image and the result stay in
    host memory.

    Raises MairError where even the smallest tile does not fit the memory, or where the network's result is not finite.
    """
    scale, (wanted_height, wanted_width) = network.scale, image.shape[:2]
    image = _fill_up(image, network.multiple)
    height, width, channels = image.shape
    grid = plan_tiles(height, width, tile, overlap, network.align)
    out = allocate((height * scale, width * scale, channels), image.dtype.newbyteorder("="))
    runner = TileRunner(network, overlap, batch)
    report = progress or no_progress
    whole = runner.try_one(to_unit(image)) if len(grid) == 1 else None
    if whole is not None:
        store_rounded(out, whole)
        report(1, 1)
    else:
        # A whole image that was refused is cut here: tiles that go to `out` need less than the parts of one large tile.
        if len(grid) == 1:
            grid = plan_tiles(height, width, runner.largest or 0, overlap, network.align)
        _restore_tiles(runner, grid, image, Canvas(out, grid, scale, store_rounded), report)
    return out[: wanted_height * scale, : wanted_width * scale]


def _restore_tiles(
    runner: TileRunner, grid: TileGrid, image: npt.NDArray[Any], canvas: Canvas, report: Progress
) -> None:
    places = list(grid)
    done = 0
    while done < len(places):
        chunk = places[done : done + runner.batch]
        tiles = [to_unit(image[region.slices]) for _, _, region in chunk]
        for (row, column, _), result in zip(chunk, runner.restore(tiles), strict=True):
            canvas.add(row, column, result)
            done += 1
            report(done, len(places))


class TileRunner:
    """Runs the network on tiles, and remembers which sizes the memory has refused."""

    def __init__(self, network: TileFunction, overlap: int, batch: int = 1) -> None:
        self.batch = batch
        self._network, self._overlap = network, overlap
        self.largest: int | None = None  # side of the largest tile that may be tried; None before any refusal

    def restore(self, tiles: list[FloatArray]) -> Iterable[FloatArray]:
        """Restore tiles of one size, `(h, w, C)` float32 in [0, 1]; the results are float32, not clipped."""
        if len(tiles) > 1 and self._fits(tiles[0]):
            results = self._try(tiles)
            if results is not None:
                return results
            self.batch = 1
            logger.warning("Memory ran out with %d tiles at once: going on with one at a time.", len(tiles))
        return (self._restore_one(tile) for tile in tiles)

    def try_one(self, tile: FloatArray) -> FloatArray | None:
        """Restore one tile; None where memory runs out, or did at no larger size: `largest` then says what to try."""
        if not self._fits(tile):
            return None
        results = self._try([tile])
        if results is not None:
            return results[0]
        self._refuse(max(tile.shape[:2]))
        return None

    def _restore_one(self, tile: FloatArray) -> FloatArray:
        result = self.try_one(tile)
        return self._restore_in_parts(tile) if result is None else result

    def _restore_in_parts(self, tile: FloatArray) -> FloatArray:
        """Restore a tile that is too large as if it were an image of its own."""
        (height, width, channels), scale = tile.shape, self._network.scale
        grid = plan_tiles(height, width, self.largest or 0, self._overlap, self._network.align)
        out = np.empty((height * scale, width * scale, channels), np.float32)
        canvas = Canvas(out, grid, scale, np.copyto)
        for row, column, region in grid:
            canvas.add(row, column, self._restore_one(tile[region.slices]))
        return out

    def _fits(self, tile: FloatArray) -> bool:
        return self.largest is None or max(tile.shape[:2]) <= self.largest

    def _refuse(self, side: int) -> None:
        half = (side + 1) // 2
        if half < SMALLEST_TILE or half >= side:
            raise MairError(
                f"Memory ran out on a tile of {side} pixels, and smaller ones would not help: close other programs,"
                " use `device` cpu, or choose a smaller model; `tile` sets the size."
            )
        logger.warning(
            "Memory ran out on a tile of %d pixels: going on with %d (`tile` %d avoids this).", side, half, half
        )
        self.largest = half

    def _try(self, tiles: list[FloatArray]) -> list[FloatArray] | None:
        """Restore tiles in one call; None where memory runs out."""
        try:
            return self._network(tiles)
        except (RuntimeError, MemoryError, SystemError) as error:
            if not is_out_of_memory(error):
                raise
        # Only here, past the handler, are the failed call's tensors unreachable and can be given back.
        release_memory(self._network.device)
        return None


def _fill_up(image: npt.NDArray[AnyNumber], multiple: int) -> npt.NDArray[AnyNumber]:
    """Reflect at the bottom and right up to sides that `multiple` divides; works for any size, down to one pixel."""
    missing = [(0, -length % multiple) for length in image.shape[:2]]
    if not any(after for _, after in missing):
        return image
    return np.pad(image, (*missing, (0, 0)), mode="reflect")
