"""The published partition of large images, for measuring as published (network.md, 9).

An image is cut into `H // 200 + 1` by `W // 200 + 1` equal parts; each is run with a tenth of its size in extra pixels
on its inner sides, which are cut off again. Nothing is blended, so seams may show: restoring for the eye is the work of
`tiled`. The self-ensemble turns and mirrors the whole image, and each view of it is cut up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mair_cli.errors import MairError
from mair_cli.restore.blending import FloatArray, Store
from mair_cli.restore.ensemble import VIEWS
from mair_cli.restore.pixels import allocate, store_rounded, to_unit
from mair_cli.restore.progress import Progress, no_progress, share
from mair_cli.restore.tiled import TileFunction
from mair_cli.restore.tiling import Span
from mair_cli.runtime.memory import is_out_of_memory

_PART = 200
_EXTRA = 10


@dataclass(frozen=True, slots=True)
class Part:
    """What is kept of one part along an axis, and what the network sees of the padded axis for it."""

    kept: Span
    seen: Span


def partition_axis(length: int) -> tuple[int, tuple[Part, ...]]:
    """Cut `length` pixels as published: the padded length, and the parts of the padded axis."""
    count = length // _PART + 1
    size = -(-length // count)
    extra = size // _EXTRA
    parts = tuple(
        Part(
            kept=Span(index * size, (index + 1) * size),
            seen=Span(index * size - (extra if index else 0), (index + 1) * size + (extra if index + 1 < count else 0)),
        )
        for index in range(count)
    )
    return count * size, parts


def run_partition(
    network: TileFunction, image: npt.NDArray[Any], *, ensemble: bool = False, progress: Progress | None = None
) -> npt.NDArray[Any]:
    """Restore an image part by part as published; image and result as `tiled.run_tiled`'s.

    `ensemble` takes the mean over 8 views of the image, each cut up for itself; the mean is rounded, not its parts.

    Raises MairError where a part does not fit the memory: another size would be another protocol.
    """
    (height, width, channels), scale = image.shape, network.scale
    shape = (height * scale, width * scale, channels)
    out = allocate(shape, image.dtype.newbyteorder("="))
    if not ensemble:
        _run_parts(network, image, out, store_rounded, progress or no_progress)
        return out
    unit = to_unit(image)
    total: FloatArray = allocate(shape, np.dtype(np.float32))
    total[...] = 0
    for index, view in enumerate(VIEWS):
        seen = _through(view.of, unit)
        restored: FloatArray = allocate((seen.shape[0] * scale, seen.shape[1] * scale, channels), np.dtype(np.float32))
        _run_parts(network, seen, restored, np.copyto, share(progress, index, len(VIEWS)) or no_progress)
        total += _through(view.undo, restored)
    store_rounded(out, total / np.float32(len(VIEWS)))
    return out


def _run_parts(
    network: TileFunction, image: npt.NDArray[Any], out: npt.NDArray[Any], store: Store, report: Progress
) -> None:
    """Restore all parts of an image into `out`, (H·scale, W·scale, C); `store` writes values into a part of it."""
    height, width = image.shape[:2]
    scale = network.scale
    padded_height, rows = partition_axis(height)
    padded_width, columns = partition_axis(width)
    padded = np.pad(image, ((0, padded_height - height), (0, padded_width - width), (0, 0)), mode="reflect")
    parts = list(product(rows, columns))
    for done, (row, column) in enumerate(parts, start=1):
        part = to_unit(padded[row.seen.start : row.seen.stop, column.seen.start : column.seen.stop])
        try:
            (restored,) = network([part])
        except (RuntimeError, MemoryError, SystemError) as error:
            if not is_out_of_memory(error):
                raise
            raise MairError("Memory does not suffice for the published partition: use `tile` auto.") from error
        y, x = ((part.kept.start - part.seen.start) * scale for part in (row, column))
        target = out[_scaled(row.kept, scale), _scaled(column.kept, scale)]  # ends where the image does
        store(target, restored[y : y + target.shape[0], x : x + target.shape[1]])
        report(done, len(parts))


def _through(change: Callable[[Tensor], Tensor], image: FloatArray) -> FloatArray:
    """An (H, W, C) array through a function of the last two axes of a tensor."""
    return change(torch.from_numpy(image).permute(2, 0, 1)).permute(1, 2, 0).numpy()


def _scaled(span: Span, scale: int) -> slice:
    return slice(span.start * scale, span.stop * scale)
