"""Pictures to any size: the next larger scale of the networks, twice over if need be, then reduced."""

from __future__ import annotations

import math
from typing import Any

import numpy.typing as npt

from mair_cli.errors import UsageError
from mair_cli.restore.flat import within_neighbours
from mair_cli.restore.pictures import resized, share
from mair_cli.restore.restorer import Restorer
from mair_cli.restore.settings import Levels, RunSettings
from mair_cli.restore.sizes import TargetSize, passes
from mair_cli.restore.tiled import Progress

SCALES = (2, 3, 4)


class SizedRestorer:
    """Restores pictures of different sizes to what `settings.size` asks for.

    Results are reduced by antialiased bicubic interpolation on the samples as they are stored: so were the pictures
    reduced that the networks learnt from, and in linear light dark lines on bright ground would become thinner.

    Attributes:
        scale: None, since it depends on the picture.
        settings: all that was asked for.
        model_name: that of the network which was loaded first.
        description: one line for people, likewise.
        backend, device: as in `Restorer`.
    """

    scale: int | None = None

    def __init__(self, settings: RunSettings) -> None:
        """Load a first network; others follow when a picture needs them. Raises what `Restorer` does."""
        if settings.size is None:
            raise UsageError("`size` is missing.")
        self.settings, self._target = settings, TargetSize.parse(settings.size)
        self._plain = settings.with_(size=None)
        self._fixed = settings.weights is not None or settings.model != "auto"
        self._loaded: dict[int, Restorer] = {}
        first = Restorer(self._plain) if self._fixed else self._network(self._usual_scale())
        self._loaded[first.scale] = first
        self.model_name, self.description = first.model_name, first.description
        self.backend, self.device = first.backend, first.device

    def _usual_scale(self) -> int:
        factor = self._target.factor
        return 4 if factor is None else passes(factor, SCALES)[0]

    def _network(self, scale: int) -> Restorer:
        if scale not in self._loaded:
            self._loaded[scale] = Restorer(self._plain.with_(task="sr", scale=scale))
        return self._loaded[scale]

    def _passes(self, width: int, height: int) -> tuple[int, ...]:
        return passes(self._target.ratio(width, height), self._loaded if self._fixed else SCALES)

    def enlargement(self, width: int, height: int) -> int:
        """How much larger than the input the picture becomes before it is reduced."""
        return math.prod(self._passes(width, height))

    def output_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the result."""
        return self._target.of(width, height)

    def levels(self, image: npt.NDArray[Any] | None, *, file_quality: int | None = None) -> Levels:
        """What the first network is told of an image, see `Restorer.levels`."""
        return next(iter(self._loaded.values())).levels(image, file_quality=file_quality)

    def __call__(
        self, image: npt.NDArray[Any], *, levels: Levels | None = None, progress: Progress | None = None
    ) -> npt.NDArray[Any]:
        """Restore (H, W, 3) or (H, W); see `Restorer.__call__`. The second time over the picture counts as clean."""
        height, width = image.shape[:2]
        scales = self._passes(width, height)
        result = image
        for number, scale in enumerate(scales):
            told = levels if number == 0 else Levels(sigma=0.0)
            larger = self._network(scale)(result, levels=told, progress=share(progress, number, len(scales)))
            result = within_neighbours(larger, result)
        wide, high = self.output_size(width, height)
        return resized(result, wide, high)
