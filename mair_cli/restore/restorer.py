"""From an image array to a restored image array: weights, device, tiles and all, behind one call."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import torch
from torch import Tensor

from mair_cli.datasets.degradations import jpeg_level, noise_level
from mair_cli.errors import MairError, UsageError, WeightsNotFoundError
from mair_cli.networks import set_backend
from mair_cli.networks.levels import known_levels
from mair_cli.restore.ensemble import ensemble as mean_of_views
from mair_cli.restore.noise_estimate import estimate_noise
from mair_cli.restore.partition import run_partition
from mair_cli.restore.pixels import check_image
from mair_cli.restore.settings import MAX_SIGMA, Jpeg, Levels, Origin, RunSettings, Sigma
from mair_cli.restore.tile_policy import DEFAULT_OVERLAP, TileChoice, choose_tile
from mair_cli.restore.tiled import Progress, TensorFunction, run_tiled
from mair_cli.runtime.device import choose_device, describe_device
from mair_cli.runtime.memory import free_memory
from mair_cli.runtime.precision import arithmetic, check_precision
from mair_cli.scan.dispatch import describe_backend, resolve_backend
from mair_cli.tasks import TASKS
from mair_cli.weights import cache, catalog, choice, hashes
from mair_cli.weights.checkpoint import load_network

if TYPE_CHECKING:
    from mair_cli.weights.catalog import ModelEntry

logger = logging.getLogger(__name__)

_MIN_ESTIMATE = 0.5  # an estimate of almost nothing still gets a level that the networks were trained on
_RED, _BLUE = 0.299, 0.114  # weights of BT.601 luma; green has the rest


class Restorer:
    """A network with its weights, ready to restore images.

    Attributes:
        network: the network, in eval mode on `device`; float32 weights.
        task: a name in `mair_cli.tasks.TASKS`; None where only a checkpoint file was named.
        settings: all that was asked for.
        scale: output side over input side.
        model_name: name in the catalog, or the name of the checkpoint file.
        device: where it computes.
        backend: name of the scan's back end, see `mair_cli.scan.dispatch`.
        description: one line for people: which weights, by what back end, on what device.
    """

    def __init__(self, task: str | RunSettings | None = None, **settings: object) -> None:
        """Choose and load.

        Args:
            task: what to restore; or all settings in one value, and then nothing else.
            settings: fields of `RunSettings`, which says what each means.

        Raises:
            UsageError: a setting, or a combination of them, that cannot be carried out; names it in backquotes.
            BackendError: the device or back end is not usable here.
            WeightsNotFoundError: no weights for the task are at hand.
            CheckpointError: the file is not a fitting checkpoint.
        """
        if isinstance(task, RunSettings):
            if settings:
                raise UsageError(f"{', '.join(settings)}: belong into the RunSettings that were given.")
            self.settings = task
        else:
            self.settings = RunSettings.of({"task": task, **settings})
        asked = self.settings
        if asked.threads is not None:
            torch.set_num_threads(asked.threads)
        self.device = choose_device(asked.device)
        self.backend = resolve_backend(asked.backend, self.device)
        check_precision(asked.precision, self.device)
        if asked.weights is not None:
            self.task, self.model_name, origin = asked.task, Path(asked.weights).name, "file"
            path = Path(asked.weights)
            self.network = load_network(path, config=asked.config, device=self.device, stripe=asked.stripe)
        else:
            entry = _choose_model(asked)
            self.task, self.model_name, origin = asked.task or entry.task, entry.name, f"{entry.origin} weights"
            self.network = load_network(hashes.checked_file(entry), device=self.device)
        self.scale = self.network.scale
        self._check_task()
        set_backend(self.network, self.backend)
        scan = describe_backend(self.backend, self.device)
        self.description = f"{self.model_name} ({origin}), back end {scan}, {describe_device(self.device)}"
        self._warned: set[str] = set()

    def __repr__(self) -> str:
        """Task, weights, back end and device in one line."""
        return f"<Restorer {self.task or 'sr'} ×{self.scale}: {self.description}>"

    @property
    def takes_sigma(self) -> bool:
        """Whether the network is told the noise level."""
        return "noise_level" in self.network.levels

    @property
    def takes_jpeg(self) -> bool:
        """Whether the network is told the strength of JPEG compression."""
        return "jpeg_level" in self.network.levels

    def levels(
        self,
        image: npt.NDArray[Any],
        *,
        sigma: Sigma | None = None,
        jpeg: Jpeg | None = None,
        file_quality: int | None = None,
    ) -> Levels:
        """What the network will be told of an image.

        Args:
            image: as for a call.
            sigma: comes before the restorer's own setting; "auto" estimates from the image.
            jpeg: comes before the restorer's own setting; "auto" takes `file_quality`.
            file_quality: JPEG quality that the picture's own file tells; None where it is no JPEG.

        Raises:
            UsageError: a value out of range, a denoiser that is told no noise level, or an image too small to
                estimate from.
        """
        asked = self.settings
        if sigma is not None or jpeg is not None:
            told = asked.sigma if sigma is None else sigma
            asked = asked.with_(sigma=told, jpeg=asked.jpeg if jpeg is None else jpeg)
        level, level_origin = self._sigma(image, asked.sigma)
        quality, quality_origin = _quality(asked.jpeg, file_quality)
        if quality is not None and not self.takes_jpeg:
            self._warn_once("jpeg", f"{self.model_name} cannot be told of JPEG compression: it takes no notice of it.")
            quality, quality_origin = None, "nothing known"
        return Levels(level, quality, level_origin, quality_origin)

    def _sigma(self, image: npt.NDArray[Any], sigma: Sigma | None) -> tuple[float | None, Origin]:
        if not self.takes_sigma:
            if sigma is not None and self.task != "denoise":
                self._warn_once("sigma", f"{self.model_name} cannot be told of noise: it takes no notice of `sigma`.")
            return None, "nothing known"
        if sigma == "auto":
            return min(max(estimate_noise(image), _MIN_ESTIMATE), MAX_SIGMA), "estimated"
        if sigma is not None:
            return float(sigma), "told"
        if self.task in ("dejpeg", "sr") or self.scale > 1:
            return 0.0, "nothing known"
        raise UsageError(f"{self.model_name} must be told the noise level: give `sigma`, a number or auto.")

    def _warn_once(self, about: str, message: str) -> None:
        if about not in self._warned:
            self._warned.add(about)
            logger.warning(message)

    def __call__(
        self,
        image: npt.NDArray[Any],
        *,
        sigma: Sigma | None = None,
        jpeg: Jpeg | None = None,
        levels: Levels | None = None,
        progress: Progress | None = None,
    ) -> npt.NDArray[Any]:
        """Restore an image.

        Args:
            image: (H, W, 3) RGB or (H, W) gray, uint8, uint16 or float32 in [0, 1]; noise in floats may go beyond.
            sigma: noise level of 255 for this image, or "auto"; for networks that are told it.
            jpeg: JPEG quality for this image, or "off"; for networks that are told it. An array has no file to read
                it from: "auto" is "off".
            levels: what `levels` gave for this image, instead of `sigma` and `jpeg`.
            progress: called with (tiles done, tiles in all).

        Returns:
            The restored image, sides times `scale`, of the same type and number of axes, clipped to the type's range.

        Raises:
            UsageError: the array is of another kind, or the noise level is missing.
            MairError: memory does not suffice, or the network's result is not finite.
        """
        check_image(image)
        try:
            function = self._function(self.levels(image, sigma=sigma, jpeg=jpeg) if levels is None else levels)
            if image.ndim == 2:
                return self._run(_on_gray(function), image[..., None], progress)[..., 0]
            return self._run(function, image, progress)
        except MemoryError as error:  # beside the network, whose lack of memory `run_tiled` answers with smaller tiles
            raise MairError(f"Memory ran out on an image of {image.shape[1]}×{image.shape[0]} pixels.") from error

    def _check_task(self) -> None:
        asked = self.settings
        if asked.scale is not None and asked.scale != self.scale:
            raise UsageError(
                f"`scale` {asked.scale}: {self.model_name} enlarges ×{self.scale}. Leave `scale` out or name another."
            )
        if self.task is None:
            return
        if TASKS[self.task].enlarges != (self.scale > 1):
            raise UsageError(f"{self.model_name} is no network for the task {self.task!r}: it enlarges ×{self.scale}.")
        if self.task == "dejpeg" and not self.takes_jpeg:
            raise UsageError(f"{self.model_name} cannot be told of JPEG compression: it is no network for dejpeg.")

    def _function(self, levels: Levels) -> TensorFunction:
        """The network as a plain function of the image."""
        told = known_levels(self.network.config, noise_level(levels.sigma or 0.0), jpeg_level(levels.jpeg))

        def restore(x: Tensor) -> Tensor:
            with torch.inference_mode(), arithmetic(self.settings.precision, self.device):
                out: Tensor = self.network(x, **told)
            return out.float()

        return mean_of_views(restore) if self.settings.ensemble else restore

    def _run(self, function: TensorFunction, image: npt.NDArray[Any], progress: Progress | None) -> npt.NDArray[Any]:
        multiple, asked = self.network.size_multiple, self.settings
        if asked.partition:
            return run_partition(function, image, self.scale, multiple=multiple, device=self.device, progress=progress)
        choice = self._choose_tile(image.shape[0], image.shape[1])
        overlap = DEFAULT_OVERLAP if asked.overlap is None else asked.overlap
        logger.debug("Tile %d, overlap %d, batch %d", choice.tile, overlap, choice.batch)
        return run_tiled(
            function,
            image,
            self.scale,
            tile=choice.tile,
            overlap=overlap,
            batch=choice.batch,
            multiple=multiple,
            align=self.network.align,
            device=self.device,
            progress=progress,
        )

    def _choose_tile(self, height: int, width: int) -> TileChoice:
        return choose_tile(
            height,
            width,
            bytes_per_pixel=self.network.memory_per_pixel,
            free=free_memory(self.device),
            on_cpu=self.device.type == "cpu",
            side=None if self.settings.tile == "auto" else self.settings.tile,
        )


def _quality(jpeg: Jpeg, file_quality: int | None) -> tuple[int | None, Origin]:
    if jpeg == "off":
        return None, "told"
    if jpeg == "auto":
        return file_quality, "nothing known" if file_quality is None else "file"
    return jpeg, "told"


def _choose_model(asked: RunSettings) -> ModelEntry:
    """The catalog's entry for the job; its weights are there."""
    if asked.model != "auto":
        entry = catalog.find(asked.model)
        if asked.task is not None and asked.task not in entry.tasks:
            raise UsageError(f"`model` {entry.name} is made for {entry.purpose}, not for the task {asked.task!r}.")
        if not cache.is_available(entry):
            raise WeightsNotFoundError(f"The weights of {entry.name} are not here yet: `mair download {entry.name}`.")
        return entry
    level = None if asked.sigma == "auto" else asked.sigma
    try:
        return choice.select(asked.task or "sr", scale=asked.scale, sigma=level, scene=asked.scene)
    except WeightsNotFoundError:
        nearest = _nearest_denoiser(level) if asked.task == "denoise" else None
        if nearest is None:
            raise
        logger.warning("No denoiser for this noise level is here: %s is the nearest.", nearest.name)
        return nearest


def _nearest_denoiser(sigma: float | None) -> ModelEntry | None:
    """Of the denoisers for one noise level whose weights are here, the nearest one."""
    wanted = 25.0 if sigma is None else sigma
    here = [e for e in catalog.MODELS.values() if e.task == "denoise" and e.sigma is not None and cache.is_available(e)]
    return min(here, key=lambda entry: abs((entry.sigma or 0.0) - wanted), default=None)


def _on_gray(network: TensorFunction) -> TensorFunction:
    """A function of (B, 1, h, w) gray images: as three equal channels in, their luma out."""

    def restore(gray: Tensor) -> Tensor:
        red, green, blue = network(gray.expand(-1, 3, -1, -1)).unbind(1)
        # Differences to green: three equal channels give back exactly their value.
        luma: Tensor = green + _RED * (red - green) + _BLUE * (blue - green)
        return luma.unsqueeze(1)

    return restore
