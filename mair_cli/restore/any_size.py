"""Pictures to any size: the next larger scale of the networks, twice over if need be, then reduced."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy.typing as npt

from mair_cli.errors import ImageError, UsageError
from mair_cli.restore.flat import within_neighbours
from mair_cli.restore.pictures import resized
from mair_cli.restore.progress import Progress, share
from mair_cli.restore.restorer import Restorer
from mair_cli.restore.settings import Levels, RunSettings
from mair_cli.restore.sizes import NETWORK_SCALES, TargetSize, passes


def load_restorer(settings: RunSettings) -> Restorer | SizedRestorer:
    """What restores as `settings` say, to any size where they name one; raises what either does."""
    return Restorer(settings) if settings.size is None else SizedRestorer(settings)


class SizedRestorer:
    """Restores pictures of different sizes to what `settings.size` asks for.

    Results are reduced by antialiased bicubic interpolation on the samples as they are stored: so were the pictures
    reduced that the networks learnt from, and in linear light dark lines on bright ground would become thinner.

    Attributes:
        scale: None, since it depends on the picture.
        settings: all that was asked for.
        model_name: that of the network which was loaded first; `networks_for` tells those of a picture.
        description: one line for people, likewise.
        backend, device, precision: as in `Restorer`.
    """

    scale: int | None = None

    def __init__(self, settings: RunSettings) -> None:
        """Load a first network; others follow when a picture needs them.

        Raises what `Restorer` does, and UsageError where a named network does not enlarge so much.
        """
        if settings.size is None:
            raise UsageError("`size` is missing.")
        self.settings, self._target = settings, TargetSize.parse(settings.size)
        self._plain = settings.with_(size=None)
        self._fixed = settings.weights is not None or settings.model != "auto"
        self._loaded: dict[int, Restorer] = {}
        first = Restorer(self._plain) if self._fixed else self._network(self._usual_scale())
        self._loaded[first.scale] = first
        self.model_name, self.description = first.model_name, first.description
        self.backend, self.device, self.precision = first.backend, first.device, first.precision
        if self._target.factor is not None:
            passes(self._target.factor, self._scales)

    def _usual_scale(self) -> int:
        factor = self._target.factor
        return 4 if factor is None else passes(factor, NETWORK_SCALES)[0]

    def _network(self, scale: int) -> Restorer:
        if scale not in self._loaded:
            self._loaded[scale] = Restorer(self._plain.with_(task="sr", scale=scale))
        return self._loaded[scale]

    @property
    def _scales(self) -> Iterable[int]:
        return self._loaded if self._fixed else NETWORK_SCALES

    def _passes(self, width: int, height: int) -> tuple[int, ...]:
        try:
            return passes(self._target.ratio(width, height), self._scales)
        except UsageError as error:  # of pixels: too many for this picture, not for the whole run
            raise ImageError(f"{width}×{height} pixels to {self._target}: {error}") from error

    def enlargement(self, width: int, height: int) -> int:
        """How much larger than the input the picture becomes before it is reduced."""
        return math.prod(self._passes(width, height))

    def output_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the result."""
        return self._target.of(width, height)

    def networks_for(self, width: int, height: int) -> tuple[Restorer, ...]:
        """The networks that restore a picture of this size, in order; loads those that are not."""
        return tuple(self._network(scale) for scale in self._passes(width, height))

    def levels(self, image: npt.NDArray[Any] | None, *, file_quality: int | None = None) -> Levels:
        """What the first network is told of an image, see `Restorer.levels`; None before it is known which that is."""
        first = next(iter(self._loaded.values())) if image is None else self._networks_of(image)[0]
        return first.levels(image, file_quality=file_quality)

    def _networks_of(self, image: npt.NDArray[Any]) -> tuple[Restorer, ...]:
        return self.networks_for(image.shape[1], image.shape[0])

    def __call__(
        self, image: npt.NDArray[Any], *, levels: Levels | None = None, progress: Progress | None = None
    ) -> npt.NDArray[Any]:
        """Restore (H, W, 3) or (H, W); see `Restorer.__call__`. The second time over the picture counts as clean."""
        networks = self._networks_of(image)
        result = image
        for number, network in enumerate(networks):
            told = levels if number == 0 else Levels(sigma=0.0)
            larger = network(result, levels=told, progress=share(progress, number, len(networks)))
            result = within_neighbours(larger, result)
        return resized(result, *self.output_size(image.shape[1], image.shape[0]))
