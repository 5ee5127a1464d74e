"""Self-ensemble, written MaIR+: the mean over the 8 flips and transposes, each undone after restoration.

Source: Timofte et al., "Seven ways to improve example-based single image super resolution", 2016; network.md, 9.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from torch import Tensor

from mair_cli.restore.tiled import TensorFunction


@dataclass(frozen=True, slots=True)
class View:
    """One of the 8 ways to look at an image; acts on the last two axes of a tensor."""

    transposed: bool
    upside_down: bool
    mirrored: bool

    def of(self, image: Tensor) -> Tensor:
        """The image as this view shows it: flipped, then transposed."""
        flipped = self._flip(image)
        return flipped.transpose(-2, -1) if self.transposed else flipped

    def undo(self, restored: Tensor) -> Tensor:
        """What `of` an image became, as the image lies."""
        return self._flip(restored.transpose(-2, -1) if self.transposed else restored)

    def _flip(self, image: Tensor) -> Tensor:
        axes = [axis for axis, wanted in ((-2, self.upside_down), (-1, self.mirrored)) if wanted]
        return image.flip(axes) if axes else image


VIEWS = tuple(View(*wanted) for wanted in product((False, True), repeat=3))


def ensemble(network: TensorFunction) -> TensorFunction:
    """A function that restores all 8 views of its input and returns their mean.

    Turned and mirrored is what the network sees, a single tile; with the published partition it is the whole image,
    before it is cut (see there). One view goes after the other: beyond the network's own memory it needs one more
    result.
    """

    def restore(image: Tensor) -> Tensor:
        total: Tensor | None = None
        for view in VIEWS:
            restored = view.undo(network(view.of(image)))
            total = restored.float() if total is None else total + restored
        assert total is not None
        return total / len(VIEWS)

    return restore
