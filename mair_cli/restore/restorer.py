"""From an image array to a restored image array: weights, device, tiles and all, behind one call."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt
import torch
from torch import Tensor

from mair_cli.errors import MairError, UsageError, WeightsNotFoundError
from mair_cli.networks import set_backend
from mair_cli.restore.ensemble import ensemble as mean_of_views
from mair_cli.restore.noise_estimate import estimate_noise
from mair_cli.restore.partition import run_partition
from mair_cli.restore.pixels import check_image
from mair_cli.restore.tile_policy import DEFAULT_OVERLAP, TileChoice, choose_tile
from mair_cli.restore.tiled import Progress, TensorFunction, run_tiled
from mair_cli.runtime.device import choose_device, describe_device
from mair_cli.runtime.memory import free_memory
from mair_cli.runtime.precision import arithmetic, check_precision
from mair_cli.scan.dispatch import describe_backend, resolve_backend
from mair_cli.weights import cache, catalog, choice, hashes
from mair_cli.weights.checkpoint import load_network

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mair_cli.weights.catalog import ModelEntry

logger = logging.getLogger(__name__)

Sigma = float | Literal["auto"]
MAX_SIGMA = 75.0
_MIN_ESTIMATE = 0.5  # an estimate of almost nothing still gets a level that the networks were trained on
_RED, _BLUE = 0.299, 0.114  # weights of BT.601 luma; green has the rest


@dataclass(frozen=True, slots=True)
class TileSettings:
    """How an image is cut.

    Attributes:
        tile: largest tile side in input pixels; 0 for the whole image; "auto" by free memory.
        overlap: pixels that neighbours share; None for the default.
        partition: the published partition instead, for measuring as published.
    """

    tile: int | Literal["auto"] = "auto"
    overlap: int | None = None
    partition: bool = False

    def __post_init__(self) -> None:
        """Raises UsageError for sizes that make no sense, naming the flag."""
        if self.tile != "auto" and (not isinstance(self.tile, int) or self.tile < 0):
            raise UsageError(f"--tile {self.tile}: give auto, 0 (the whole image) or a side in pixels.")
        if self.overlap is not None and self.overlap < 0:
            raise UsageError(f"--overlap {self.overlap}: give a number of pixels, 0 or more.")
        if self.tile != "auto" and self.tile > 0 and self.overlap is not None and self.overlap > self.tile // 2:
            raise UsageError(f"--overlap {self.overlap}: at most half of --tile {self.tile}.")
        if self.partition and self.tile != "auto":
            raise UsageError("The published partition sets the size of its parts itself: leave --tile out.")


class Restorer:
    """A network with its weights, ready to restore images.

    Attributes:
        network: the network, in eval mode on `device`; float32 weights.
        task: "sr", "denoise", "real-denoise", "deblur" or "dehaze"; None where only a checkpoint file was named.
        scale: output side over input side.
        model_name: name in the catalog, or the name of the checkpoint file.
        device: where it computes.
        backend: name of the scan's back end, see `mair_cli.scan.dispatch`.
        description: one line for people: which weights, by what back end, on what device.
    """

    def __init__(
        self,
        task: str | None = None,
        *,
        scale: int | None = None,
        sigma: Sigma | None = None,
        scene: str | None = None,
        model: str = "auto",
        weights: str | Path | None = None,
        config: Mapping[str, object] | None = None,
        stripe: int | None = None,
        device: str = "auto",
        backend: str = "auto",
        precision: str = "fp32",
        tile: int | Literal["auto"] = "auto",
        overlap: int | None = None,
        ensemble: bool = False,
        partition: bool = False,
    ) -> None:
        """Choose and load.

        Args:
            task: as the attribute; None takes the model's, or "sr" where none is named.
            scale: enlargement, 2, 3 or 4; None takes the model's, or 4.
            sigma: noise level of 255, in (0, 75], or "auto" to estimate it from each image; denoising only.
            scene: "indoor", "outdoor" or "mixed"; dehazing only.
            model: a name in the catalog; "auto" takes published weights for the task if cached, else bundled ones.
            weights: a checkpoint file, published format or safetensors, instead of `model`.
            config: the file's network settings, where it does not tell them itself.
            stripe: the file's stripe width, where it does not tell it itself.
            device: "auto", "cpu", "cuda", "cuda:N" or "mps".
            backend: the scan's back end, "auto" or one of `mair_cli.scan.dispatch.BACKENDS`.
            precision: "fp32", "bf16" or "fp16".
            tile: as in `TileSettings`.
            overlap: as in `TileSettings`.
            ensemble: mean over 8 flips and transposes.
            partition: as in `TileSettings`.

        Raises:
            UsageError: a setting, or a combination of them, that cannot be carried out; names its flag.
            BackendError: the device or back end is not usable here.
            WeightsNotFoundError: no weights for the task are at hand.
            CheckpointError: the file is not a fitting checkpoint.
        """
        self._tiles = TileSettings(tile, overlap, partition)
        self.sigma = _checked_sigma(sigma)
        self.device = choose_device(device)
        self.backend = resolve_backend(backend, self.device)
        check_precision(precision, self.device)
        self._precision = precision
        self._ensemble = ensemble
        if weights is not None:
            if model != "auto":
                raise UsageError("--model and --weights exclude each other: name one of them.")
            self.task, self.model_name, origin = task, Path(weights).name, "file"
            self.network = load_network(Path(weights), config=config, device=self.device, stripe=stripe)
        else:
            if config is not None or stripe is not None:
                raise UsageError("--stripe and config describe a checkpoint file: they need --weights.")
            entry = _choose_model(task, scale, self.sigma, scene, model)
            self.task, self.model_name, origin = entry.task, entry.name, f"{entry.origin} weights"
            self.network = load_network(hashes.checked_file(entry), device=self.device)
        self.scale = self.network.scale
        self._check_scale(scale)
        set_backend(self.network, self.backend)
        scan = describe_backend(self.backend, self.device)
        self.description = f"{self.model_name} ({origin}), back end {scan}, {describe_device(self.device)}"

    @property
    def takes_sigma(self) -> bool:
        """Whether the network is told the noise level: one denoiser for all of them."""
        return "noise_level" in self.network.levels

    def noise_level(self, image: npt.NDArray[Any], sigma: Sigma | None = None) -> float | None:
        """The noise level of 255 that restoring `image` will assume; None for a network that is not told one.

        `sigma` comes before the restorer's own; "auto" estimates. Raises UsageError where neither is given.
        """
        sigma = self.sigma if sigma is None else _checked_sigma(sigma)
        if not self.takes_sigma:
            return None
        if sigma is None:
            raise UsageError(f"{self.model_name} must be told the noise level: give --sigma S or --sigma auto.")
        if sigma == "auto":
            return min(max(estimate_noise(image), _MIN_ESTIMATE), MAX_SIGMA)
        return float(sigma)

    def __call__(
        self,
        image: npt.NDArray[Any],
        *,
        sigma: Sigma | None = None,
        progress: Progress | None = None,
    ) -> npt.NDArray[Any]:
        """Restore an image.

        Args:
            image: (H, W, 3) RGB or (H, W) gray, uint8, uint16 or float32 in [0, 1]; noise in floats may go beyond.
            sigma: noise level of 255 for this image, or "auto"; for networks that are told it.
            progress: called with (tiles done, tiles in all).

        Returns:
            The restored image, sides times `scale`, of the same type and number of axes, clipped to the type's range.

        Raises:
            UsageError: the array is of another kind, or the noise level is missing.
            MairError: memory does not suffice, or the network's result is not finite.
        """
        check_image(image)
        try:
            function = self._function(self.noise_level(image, sigma))
            if image.ndim == 2:
                return self._run(_on_gray(function), image[..., None], progress)[..., 0]
            return self._run(function, image, progress)
        except MemoryError as error:  # beside the network, whose lack of memory `run_tiled` answers with smaller tiles
            raise MairError(f"Memory ran out on an image of {image.shape[1]}×{image.shape[0]} pixels.") from error

    def _check_scale(self, wanted: int | None) -> None:
        if wanted is not None and wanted != self.scale:
            raise UsageError(
                f"--scale {wanted}: {self.model_name} enlarges ×{self.scale}. Leave --scale out or name another."
            )
        if self.task is not None and (self.task == "sr") != (self.scale > 1):
            raise UsageError(f"{self.model_name} is no network for the task {self.task!r}: it enlarges ×{self.scale}.")

    def _function(self, level: float | None) -> TensorFunction:
        """The network as a plain function of the image."""

        def restore(x: Tensor) -> Tensor:
            with torch.inference_mode(), arithmetic(self._precision, self.device):
                out: Tensor = self.network(x) if level is None else self.network(x, level / 255.0)
            return out.float()

        return mean_of_views(restore) if self._ensemble else restore

    def _run(self, function: TensorFunction, image: npt.NDArray[Any], progress: Progress | None) -> npt.NDArray[Any]:
        multiple = self.network.size_multiple
        if self._tiles.partition:
            return run_partition(function, image, self.scale, multiple=multiple, device=self.device, progress=progress)
        choice = self._choose_tile(image.shape[0], image.shape[1])
        overlap = DEFAULT_OVERLAP if self._tiles.overlap is None else self._tiles.overlap
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
            side=None if self._tiles.tile == "auto" else self._tiles.tile,
        )


def _checked_sigma(sigma: Sigma | None) -> Sigma | None:
    if sigma is None or sigma == "auto":
        return sigma
    if not isinstance(sigma, (int, float)) or not 0 < sigma <= MAX_SIGMA:  # also refuses NaN
        raise UsageError(f"--sigma {sigma}: give a number above 0 and up to {MAX_SIGMA:g}, or auto.")
    return float(sigma)


def _choose_model(
    task: str | None, scale: int | None, sigma: Sigma | None, scene: str | None, model: str
) -> ModelEntry:
    """The catalog's entry for the job; its weights are there."""
    if model != "auto":
        entry = catalog.find(model)
        if task is not None and task != entry.task:
            raise UsageError(f"--model {entry.name} is made for {entry.purpose}, not for the task {task!r}.")
        if not cache.is_available(entry):
            raise WeightsNotFoundError(f"The weights of {entry.name} are not here yet: `mair download {entry.name}`.")
        return entry
    level = None if sigma == "auto" else sigma
    try:
        return choice.select(task or "sr", scale=scale, sigma=level, scene=scene)
    except WeightsNotFoundError:
        nearest = _nearest_denoiser(level) if task == "denoise" else None
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
