"""From files to files, image by image, so that one bad file never stops the others."""

from __future__ import annotations

import io
import time
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from mair_cli.datasets.resize import matlab_bicubic
from mair_cli.errors import ImageError, MairError, UsageError
from mair_cli.images.io import probe, read_picture, write_picture
from mair_cli.images.picture import Animation, ImageInfo, Picture, Samples, convert_depth
from mair_cli.jobs.plan import Job
from mair_cli.jobs.side_by_side import Panel, side_by_side
from mair_cli.measure.protocol import Measurement, measure, read_rgb
from mair_cli.restore.settings import Levels
from mair_cli.store.trace import log_traceback
from mair_cli.tasks import TASKS

TileProgress = Callable[[int, int], None]
"""Called with the number of finished tiles and of all tiles."""

AlphaChoice = Literal["model", "resize", "drop"]


class ImageRestorer(typing.Protocol):
    """What a batch needs of `mair_cli.restore.restorer.Restorer`; see there."""

    scale: int
    model_name: str

    def levels(self, image: npt.NDArray[np.generic], *, file_quality: int | None = None) -> Levels:
        """What the network is told of an image."""

    def __call__(
        self,
        image: npt.NDArray[np.generic],
        *,
        levels: Levels | None = None,
        progress: TileProgress | None = None,
    ) -> npt.NDArray[np.generic]:
        """Restore (H, W, 3) or (H, W); the result has the same type."""


@dataclass(frozen=True)
class Treatment:
    """How each image is restored and written.

    Attributes:
        task: a name in `mair_cli.tasks.TASKS`.
        alpha: what becomes of transparency: restored by the network, resized, or left out.
        quality: 1 to 100 for lossy formats; None leaves the choice to the writer.
        max_pixels: images with a larger output are refused; None for the reader's own bound.
    """

    task: str = "sr"
    alpha: AlphaChoice = "model"
    quality: int | None = None
    max_pixels: int | None = None


@dataclass
class Outcome:
    """What became of a job; sizes are (width, height) and None where the image was never read."""

    job: Job
    input_size: tuple[int, int] | None = None
    output_size: tuple[int, int] | None = None
    frames: int = 1
    levels: Levels = field(default_factory=Levels)
    seconds: float = 0.0
    measurement: Measurement | None = None
    error: str | None = None


@dataclass(frozen=True)
class Streams:
    """How a job reaches standard input and standard output."""

    read: Callable[[], bytes]
    write: Callable[[bytes], None]


def restore_job(
    job: Job,
    restorer: ImageRestorer,
    treatment: Treatment,
    streams: Streams,
    progress: TileProgress | None = None,
) -> Outcome:
    """Read, restore, write, measure. What goes wrong with this image is told in the outcome.

    Raises:
        UsageError: what is wrong concerns the whole run.
    """
    outcome = Outcome(job)
    started = time.perf_counter()
    try:
        _restore(outcome, restorer, treatment, streams, progress)
    except (UsageError, BrokenPipeError):
        raise
    except MemoryError:
        outcome.error = f"{job.source.name}: not enough memory"
    except OSError as error:
        outcome.error = f"{job.source.name}: {error.filename or 'result'}: {error.strerror or error}"
    except MairError as error:
        log_traceback(error)
        text = str(error)
        outcome.error = text if Path(job.source.name).name in text else f"{job.source.name}: {text}"
    outcome.seconds = time.perf_counter() - started
    return outcome


def _restore(
    outcome: Outcome, restorer: ImageRestorer, treatment: Treatment, streams: Streams, progress: TileProgress | None
) -> None:
    job = outcome.job
    scale = restorer.scale
    stream = io.BytesIO(streams.read()) if job.source.path is None else job.source.path
    image = read_picture(stream, name=job.source.name, max_output_pixels=treatment.max_pixels, scale=scale)
    frames = image.frames if isinstance(image, Animation) else [image]
    first = frames[0]
    outcome.input_size, outcome.frames = (first.width, first.height), len(frames)
    outcome.output_size = (first.width * scale, first.height * scale)
    if job.ground_truth is not None:
        _check_ground_truth(job.ground_truth, outcome, scale)
    outcome.levels = _levels(first, restorer)
    restored = [
        restore_picture(frame, restorer, treatment.alpha, outcome.levels, _share(progress, index, len(frames)))
        for index, frame in enumerate(frames)
    ]
    result = Animation(restored, image.durations, image.loop) if isinstance(image, Animation) else restored[0]
    _write(result, job, treatment.quality, streams)
    if job.ground_truth is not None:
        outcome.measurement = _measured(restored[0], job.ground_truth, treatment.task, scale)
    if job.comparison is not None:
        _write_comparison(first, restored[0], job, restorer.model_name)


def _share(progress: TileProgress | None, index: int, frames: int) -> TileProgress | None:
    """Progress of one frame as part of all, on the assumption that frames have equally many tiles."""
    if progress is None:
        return None
    return lambda done, total: progress(index * total + done, frames * total)


def _levels(picture: Picture, restorer: ImageRestorer) -> Levels:
    try:
        return restorer.levels(picture.color, file_quality=picture.jpeg_quality)
    except UsageError as error:  # an image too small to estimate from: about this image, not about the whole run
        raise ImageError(str(error)) from error


def restore_picture(
    picture: Picture,
    restorer: ImageRestorer,
    alpha: AlphaChoice = "model",
    levels: Levels | None = None,
    progress: TileProgress | None = None,
) -> Picture:
    """The picture with its colours, and its alpha unless that is dropped, restored; all else is kept.

    Args:
        picture: what `read_picture` gives.
        restorer: restores colours.
        alpha: what becomes of transparency.
        levels: what the network is told of the picture.
        progress: told of finished tiles.
    """
    color = cast("Samples", restorer(picture.color, levels=levels, progress=progress))
    opacity = None
    if picture.alpha is not None and alpha != "drop":
        opacity = _restore_alpha(picture.alpha, restorer, alpha)
    return Picture(
        color=color,
        alpha=opacity,
        icc_profile=picture.icc_profile,
        exif=picture.exif,
        format=picture.format,
        lossless=picture.lossless,
        png_color=picture.png_color,
    )


def _restore_alpha(alpha: Samples, restorer: ImageRestorer, choice: AlphaChoice) -> Samples:
    scale = restorer.scale
    if alpha.min() == alpha.max():  # nearly every picture with alpha is opaque: nothing to restore
        return np.full((alpha.shape[0] * scale, alpha.shape[1] * scale), alpha.flat[0], alpha.dtype)
    if choice == "model":
        # A mask is neither noisy nor compressed, whatever its picture is.
        return cast("Samples", restorer(alpha, levels=Levels(sigma=0.0)))
    enlarged = alpha if scale == 1 else matlab_bicubic(alpha, scale)
    return enlarged.clip(0, 1) if enlarged.dtype == np.float32 else enlarged


def _write(result: Picture | Animation, job: Job, quality: int | None, streams: Streams) -> None:
    name = job.format or result.default_format
    if job.destination is not None:
        job.destination.parent.mkdir(parents=True, exist_ok=True)
        write_picture(result, job.destination, name, quality)
        return
    buffer = io.BytesIO()  # whole or not at all, on a stream too
    write_picture(result, buffer, name, quality)
    streams.write(buffer.getvalue())


def _check_ground_truth(path: Path, outcome: Outcome, scale: int) -> None:
    """Refuse ground truth of the wrong size before the work. It may be up to `scale - 1` pixels too large."""
    info: ImageInfo = probe(path)
    if outcome.frames > 1 or info.frames > 1:
        raise ImageError(f"{outcome.job.source.name}: an animation cannot be measured: leave `gt` out")
    width, height = outcome.output_size or (0, 0)
    if not (0 <= info.width - width < scale and 0 <= info.height - height < scale):
        raise ImageError(
            f"{outcome.job.source.name}: the result has {width}x{height} pixels, the ground truth {path}"
            f" {info.width}x{info.height}: they do not belong together"
        )


def _measured(restored: Picture, ground_truth: Path, task: str, scale: int) -> Measurement:
    """PSNR and SSIM as published: 8 bits, and in super-resolution a border of `scale` pixels left out."""
    output = convert_depth(restored.color, "uint8")
    if output.ndim == 2:
        output = np.repeat(output[:, :, None], 3, axis=2)
    truth = read_rgb(ground_truth)[: output.shape[0], : output.shape[1]]
    return measure(output, truth, scale if TASKS[task].crops_border else 0)


def _write_comparison(before: Picture, after: Picture, job: Job, model: str) -> None:
    if job.comparison is None:
        return
    panels = [
        Panel(
            "input" if before.width == after.width else f"input, bicubic x{after.width // before.width}",
            convert_depth(before.color, "uint8"),
        ),
        Panel(f"restored, {model}", convert_depth(after.color, "uint8")),
    ]
    if job.ground_truth is not None:
        truth = read_rgb(job.ground_truth)[: after.height, : after.width]
        panels.append(Panel("ground truth", truth))
    write_picture(Picture(side_by_side(panels), icc_profile=after.icc_profile), job.comparison, "PNG", None)
