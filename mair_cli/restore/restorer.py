"""From an image array to a restored image array: weights, device, tiles and all, behind one call."""

from __future__ import annotations

import inspect
import logging
import os
from contextlib import AbstractContextManager
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy.typing as npt
import torch
from torch import Tensor

from mair_cli.errors import ImageError, MairError, UsageError
from mair_cli.images.io import Animation, read_picture, writable_format, write_picture
from mair_cli.images.picture import LUMA
from mair_cli.networks import set_backend
from mair_cli.networks.levels import levels_for
from mair_cli.networks.network import Network
from mair_cli.restore.computing import choose_precision, form_computes
from mair_cli.restore.ensemble import ensemble as mean_of_views
from mair_cli.restore.loading import choose_model, file_of
from mair_cli.restore.noise_estimate import estimate_noise
from mair_cli.restore.partition import run_partition
from mair_cli.restore.pictures import levels_of, restore_frames
from mair_cli.restore.pixels import check_image
from mair_cli.restore.progress import Progress
from mair_cli.restore.settings import (
    ALPHA_CHOICES,
    MAX_SIGMA,
    AlphaChoice,
    Jpeg,
    LevelOrigin,
    Levels,
    RunSettings,
    Sigma,
)
from mair_cli.restore.signature import signed
from mair_cli.restore.tile_policy import DEFAULT_OVERLAP, TileChoice, choose_tile
from mair_cli.restore.tiled import TensorFunction, TileFunction, run_tiled
from mair_cli.runtime.device import choose_device, describe_device
from mair_cli.runtime.memory import free_memory, is_out_of_memory
from mair_cli.runtime.precision import arithmetic, check_precision
from mair_cli.scan.dispatch import describe_backend, resolve_backend
from mair_cli.store.files import disk_errors_as
from mair_cli.tasks import TASKS
from mair_cli.weights.checkpoint import load_network

if TYPE_CHECKING:
    from mair_cli.inference.form import InferenceForm

logger = logging.getLogger(__name__)

_MIN_ESTIMATE = 0.5  # an estimate of almost nothing still gets a level that the networks were trained on


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
        precision: what it computes in, "fp32", "bf16" or "fp16".
        description: one line for people: which weights, by what back end, on what device, in what precision.
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
        if asked.size is not None:
            raise UsageError("`size`: `mair_cli.restore.any_size.SizedRestorer` takes it.")
        if asked.threads is not None:
            torch.set_num_threads(asked.threads)
        self.device = choose_device(asked.device)
        self.backend = resolve_backend(asked.backend, self.device)
        if asked.precision != "auto":  # which never becomes one that the device cannot compute in
            check_precision(asked.precision, self.device)
        if asked.weights is not None:
            self.task, self.model_name, origin = asked.task, Path(asked.weights).name, "file"
            may_round = False
            path = Path(asked.weights)
            self.network = load_network(path, config=asked.config, device=self.device, stripe=asked.stripe)
        else:
            entry = choose_model(asked)
            asked.check_for(TASKS[asked.task or entry.task])
            self.task, self.model_name, origin = asked.task or entry.task, entry.name, f"{entry.origin} weights"
            may_round = entry.may_round
            self.network = load_network(file_of(entry), device=self.device)
        self.scale = self.network.scale
        self._check_task()
        set_backend(self.network, self.backend)
        # Who names a back end wants to compare or to be sure: its results stay those of float32.
        free = asked.backend == "auto" and may_round
        self.precision = choose_precision(asked.precision, self.network, self.device, self.backend, may_round=free)
        scan, device = describe_backend(self.backend, self.device), describe_device(self.device)
        self.description = f"{self.model_name} ({origin}), back end {scan}, {device}, {self.precision}"
        self._warned: set[str] = set()

    def __repr__(self) -> str:
        """Task, weights, back end and device in one line."""
        return f"<Restorer {self.task or 'sr'} ×{self.scale}: {self.description}>"

    @property
    def run_settings(self) -> dict[str, object]:
        """`settings` as data, with the precision that "auto" stood for: what figures depend on."""
        return self.settings.with_(precision=self.precision).to_mapping()

    def enlargement(self, width: int, height: int) -> int:
        """How much larger than the input the network's result is."""
        return self.scale

    def output_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of a picture's result."""
        return width * self.scale, height * self.scale

    def networks_for(self, width: int, height: int) -> tuple[Restorer, ...]:
        """What restores a picture of this size: always itself alone."""
        return (self,)

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
        image: npt.NDArray[Any] | None,
        *,
        sigma: Sigma | None = None,
        jpeg: Jpeg | None = None,
        file_quality: int | None = None,
    ) -> Levels:
        """What the network will be told of an image.

        Args:
            image: as for a call; None before it is read: a noise level that depends on it stays open.
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
            if self.task is not None:
                asked.check_for(TASKS[self.task])
        level, level_origin = self._sigma(image, asked.sigma, file_quality)
        quality, quality_origin = _quality(asked.jpeg, file_quality)
        if quality is not None and not self.takes_jpeg:
            self._warn_once("jpeg", f"{self.model_name} cannot be told of JPEG compression: it takes no notice of it.")
            quality, quality_origin = None, "nothing known"
        return Levels(level, quality, level_origin, quality_origin)

    def _sigma(
        self, image: npt.NDArray[Any] | None, sigma: Sigma | None, file_quality: int | None = None
    ) -> tuple[float | None, LevelOrigin]:
        if not self.takes_sigma:
            if sigma is not None and self._inputs != "noisy":
                self._warn_once("sigma", f"{self.model_name} cannot be told of noise: it takes no notice of `sigma`.")
            return None, "nothing known"
        if sigma == "auto":
            found = None if image is None else estimate_noise(image, file_quality)
            return None if found is None else min(max(found, _MIN_ESTIMATE), MAX_SIGMA), "estimated"
        if sigma is not None:
            return float(sigma), "told"
        if self.scale > 1 or self._inputs == "compressed":
            return 0.0, "nothing known"
        raise UsageError(f"{self.model_name} must be told the noise level: give `sigma`, a number or auto.")

    @property
    def _inputs(self) -> str | None:
        """What the task's inputs have gone through, see `Task.inputs`; None without a task."""
        return None if self.task is None else TASKS[self.task].inputs

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
        except (RuntimeError, MemoryError, SystemError) as error:
            if not is_out_of_memory(error):
                raise
            # Beside the network, whose lack of memory `run_tiled` answers with smaller tiles.
            raise MairError(f"Memory ran out on an image of {image.shape[1]}×{image.shape[0]} pixels.") from error

    def file(
        self,
        source: str | Path,
        target: str | Path,
        *,
        overwrite: bool = False,
        format: str | None = None,  # noqa: A002 - the word users know it by
        quality: int | None = None,
        alpha: AlphaChoice = "model",
        max_pixels: int | None = None,
        progress: Progress | None = None,
    ) -> Levels:
        """Restore an image file into another, with all that it carries: profile, EXIF data, transparency, frames.

        Args:
            source: the file to restore, of any format that `mair_cli.images.io.read_picture` reads.
            target: the file to write, complete or not at all; its folder is made where it is missing.
            overwrite: replace a target that exists. The source itself is never replaced.
            format: of the target, such as "png"; None goes by its extension.
            quality: 1 to 100, for formats with loss.
            alpha: transparency is restored by the network ("model"), enlarged by bicubic ("resize"), or left out.
            max_pixels: larger results are refused; None for the default bound.
            progress: called with (tiles done, tiles in all).

        Returns:
            What the network was told of the (first) picture.

        Raises:
            UsageError: the target exists or is the source, or its format cannot be written.
            ImageError: the source cannot be read in full, or the target not be written.
            MairError: memory does not suffice, or the network's result is not finite.
        """
        source, target = _path("source", source), _path("target", target)
        if alpha not in ALPHA_CHOICES:
            raise UsageError(f"`alpha` {alpha!r}: give model, resize or drop.")
        if target.exists() and source.exists() and target.samefile(source):
            raise UsageError(f"`target` {target} is the source itself: name another.")
        if os.path.lexists(target) and not overwrite:
            raise UsageError(f"`target` {target} exists already: `overwrite` replaces it.")
        name = writable_format(target.suffix if format is None else format)
        image = read_picture(source, max_output_pixels=max_pixels, scale=self.scale)
        told = levels_of(image.frames[0] if isinstance(image, Animation) else image, self)
        result = signed(restore_frames(image, self, alpha, told, progress), self.task or "sr")
        with disk_errors_as(ImageError, f"Cannot write {target}"):
            target.parent.mkdir(parents=True, exist_ok=True)
        write_picture(result, target, name, quality)
        return told

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
        blind = self.network.config.colors == 1  # published gray networks for JPEGs, each for one quality
        if self._inputs == "compressed" and not (self.takes_jpeg or blind):
            raise UsageError(f"{self.model_name} cannot be told of JPEG compression: it is no network for {self.task}.")

    @cached_property
    def _computes(self) -> Network | InferenceForm:
        """The network, or its inference form where that serves; made for the first picture, not for a dry run."""
        if not form_computes(self.network, self.device, self.backend, self.precision):
            return self.network
        from mair_cli.inference.form import inference_form  # loads kernels

        return inference_form(self.network, self.precision) or self.network

    def _arithmetic(self) -> AbstractContextManager[object]:
        """For a call of what computes: the inference form needs none."""
        return arithmetic(self.precision if self._computes is self.network else "fp32", self.device)

    def _function(self, levels: Levels) -> TensorFunction:
        """The network as a plain function of the image."""
        told = levels_for(self.network.config, levels.sigma or 0.0, levels.jpeg)

        def restore(x: Tensor) -> Tensor:
            with torch.inference_mode(), self._arithmetic():
                out: Tensor = self._computes(x, **told)
            return out.float()

        return restore

    def _run(self, function: TensorFunction, image: npt.NDArray[Any], progress: Progress | None) -> npt.NDArray[Any]:
        network, asked = self.network, self.settings
        each = mean_of_views(function) if asked.ensemble and not asked.partition else function
        tiles = TileFunction(each, self.scale, network.size_multiple, network.align, self.device)
        if asked.partition:
            return run_partition(tiles, image, ensemble=asked.ensemble, progress=progress)
        height, width = image.shape[:2]
        choice = self._choose_tile(height, width)
        overlap = DEFAULT_OVERLAP if asked.overlap is None else asked.overlap
        self._log_choice(choice, height, width, overlap)
        return run_tiled(tiles, image, tile=choice.tile, overlap=overlap, batch=choice.batch, progress=progress)

    def _log_choice(self, choice: TileChoice, height: int, width: int, overlap: int) -> None:
        pixels = min(choice.tile or height, height) * min(choice.tile or width, width) * choice.batch
        tiles = f"in tiles of up to {choice.tile}, overlap {min(overlap, choice.tile // 2)}, {choice.batch} at a time"
        logger.info(
            "%d×%d pixels, %s; the network takes some %d MiB at a time, %d MiB are free",
            width,
            height,
            tiles if choice.tile else "whole",
            pixels * self._computes.memory_per_pixel >> 20,
            free_memory(self.device) >> 20,
        )

    def _choose_tile(self, height: int, width: int) -> TileChoice:
        return choose_tile(
            height,
            width,
            bytes_per_pixel=self._computes.memory_per_pixel,
            free=free_memory(self.device),
            side_on_cpu=self.network.side_on_cpu if self.device.type == "cpu" else None,
            side=None if self.settings.tile == "auto" else self.settings.tile,
        )


def _signature() -> inspect.Signature:
    """What `Restorer` takes: the fields of `RunSettings`, the task by its place too."""
    hints = get_type_hints(RunSettings)
    parameters = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD if field.name == "task" else inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name] | RunSettings if field.name == "task" else hints[field.name],
        )
        for field in fields(RunSettings)
    ]
    return inspect.Signature(parameters)


Restorer.__signature__ = _signature()  # type: ignore[attr-defined]  # for help() and editors


def _path(name: str, value: object) -> Path:
    if not isinstance(value, (str, Path)) or not str(value):
        raise UsageError(f"`{name}` {value!r}: give a file.")
    return Path(value)


def _quality(jpeg: Jpeg, file_quality: int | None) -> tuple[int | None, LevelOrigin]:
    if jpeg == "off":
        return None, "told"
    if jpeg == "auto":
        return file_quality, "nothing known" if file_quality is None else "file"
    return jpeg, "told"


def _on_gray(network: TensorFunction) -> TensorFunction:
    """A function of (B, 1, h, w) gray images: as three equal channels in, their luma out."""

    def restore(gray: Tensor) -> Tensor:
        red, green, blue = network(gray.expand(-1, 3, -1, -1)).unbind(1)
        # Differences to green: three equal channels give back exactly their value.
        luma: Tensor = green + LUMA[0] * (red - green) + LUMA[2] * (blue - green)
        return luma.unsqueeze(1)

    return restore
