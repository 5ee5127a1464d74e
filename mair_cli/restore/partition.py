"""The published partition of large images, for measuring as published (network.md, 9).

An image is cut into `H // 200 + 1` by `W // 200 + 1` equal parts; each is run with a tenth of its size in extra pixels
on its inner sides, which are cut off again. Nothing is blended, so seams may show: restoring for the eye is the work of
`tiled`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mair_cli.errors import MairError
from mair_cli.restore.pixels import allocate, store_rounded, to_unit
from mair_cli.restore.tiled import Progress, TensorFunction, run_network
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
    network: TensorFunction,
    image: npt.NDArray[Any],
    scale: int,
    *,
    multiple: int = 1,
    device: torch.device | None = None,
    progress: Progress | None = None,
) -> npt.NDArray[Any]:
    """Restore an image part by part as published; arguments and result as `tiled.run_tiled`'s.

    Raises MairError where a part does not fit the memory: another size would be another protocol.
    """
    height, width, channels = image.shape
    padded_height, rows = partition_axis(height)
    padded_width, columns = partition_axis(width)
    padded = np.pad(image, ((0, padded_height - height), (0, padded_width - width), (0, 0)), mode="reflect")
    out = allocate((padded_height * scale, padded_width * scale, channels), image.dtype.newbyteorder("="))
    done = 0
    for row in rows:
        for column in columns:
            part = to_unit(padded[row.seen.start : row.seen.stop, column.seen.start : column.seen.stop])
            try:
                (restored,) = run_network(network, [part], scale, multiple, device or torch.device("cpu"))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                raise MairError("Memory does not suffice for the published partition: use `tile` auto.") from error
            y, x = ((part.kept.start - part.seen.start) * scale for part in (row, column))
            target = out[_scaled(row.kept, scale), _scaled(column.kept, scale)]
            store_rounded(target, restored[y : y + target.shape[0], x : x + target.shape[1]])
            done += 1
            if progress is not None:
                progress(done, len(rows) * len(columns))
    return out[: height * scale, : width * scale]


def _scaled(span: Span, scale: int) -> slice:
    return slice(span.start * scale, span.stop * scale)
