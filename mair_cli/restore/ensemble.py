"""Self-ensemble, written MaIR+: the mean over the 8 flips and transposes, each undone after restoration.

Source: Timofte et al., "Seven ways to improve example-based single image super resolution", 2016; network.md, 9.
"""

from __future__ import annotations

from itertools import product

from torch import Tensor

from mair_cli.restore.tiled import TensorFunction


def ensemble(network: TensorFunction) -> TensorFunction:
    """A function that restores all 8 views of its input and returns their mean.

    It acts on single tiles, one view after the other: beyond the network's own memory it needs one more result.
    """

    def restore(image: Tensor) -> Tensor:
        total: Tensor | None = None
        for transposed, upside_down, mirrored in product((False, True), repeat=3):
            view = _flip(image, upside_down, mirrored)
            restored = network(view.transpose(-2, -1) if transposed else view)
            restored = _flip(restored.transpose(-2, -1) if transposed else restored, upside_down, mirrored)
            total = restored.float() if total is None else total + restored
        assert total is not None
        return total / 8

    return restore


def _flip(image: Tensor, upside_down: bool, mirrored: bool) -> Tensor:
    axes = [axis for axis, wanted in ((-2, upside_down), (-1, mirrored)) if wanted]
    return image.flip(axes) if axes else image
