"""From files to files, image by image, so that one bad file never stops the others."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import BinaryIO

from mair_cli.errors import ImageError, MairError, UsageError
from mair_cli.images.guard import open_stream
from mair_cli.images.io import as_rgb8, probe, read_picture, read_rgb8, write_picture
from mair_cli.images.picture import Animation, ImageInfo, Picture, convert_depth
from mair_cli.jobs.plan import Job
from mair_cli.jobs.side_by_side import Panel, side_by_side
from mair_cli.measure.protocol import Measurement, measure
from mair_cli.restore.pictures import ImageRestorer, levels_of, restore_frames
from mair_cli.restore.progress import Progress
from mair_cli.restore.settings import AlphaChoice, Levels
from mair_cli.restore.signature import signed, task_signed
from mair_cli.runtime.memory import is_out_of_memory
from mair_cli.store.remote import Place
from mair_cli.store.trace import log_traceback
from mair_cli.tasks import TASKS

logger = logging.getLogger(__name__)


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
    """What became of a job; sizes are (width, height) and None where the image was never read.

    `model`: the network that restored the first frame; of two in turn both.
    `levels`: what the network was told of the first frame. `sigmas`: the estimates, where each frame had one.
    `truncated`: the file ended too early, and only what could be read of it was restored.
    `is_result`: it was left out, being an earlier result (`Job.unless_result`).
    """

    job: Job
    input_size: tuple[int, int] | None = None
    output_size: tuple[int, int] | None = None
    frames: int = 1
    model: str | None = None
    levels: Levels = field(default_factory=Levels)
    sigmas: tuple[float, ...] = ()
    seconds: float = 0.0
    measurement: Measurement | None = None
    truncated: bool = False
    error: str | None = None
    is_result: bool = False


@dataclass(frozen=True)
class Streams:
    """Standard input, and what writes to standard output."""

    source: BinaryIO
    write: Callable[[bytes], None]


def restore_job(
    job: Job,
    restorer: ImageRestorer,
    treatment: Treatment,
    streams: Streams,
    progress: Progress | None = None,
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
    except (MairError, MemoryError, OSError, RuntimeError, SystemError) as error:
        log_traceback(error)
        outcome.error = _in_words(error, job.source.name)
    outcome.seconds = time.perf_counter() - started
    return outcome


def _in_words(error: Exception, name: str) -> str:
    """Why an image failed, in one line that names it. Raises the error itself where it is a defect."""
    if isinstance(error, MairError):
        return str(error) if PurePath(name).name in str(error) else f"{name}: {error}"
    if isinstance(error, OSError):
        return f"{name}: {error.filename or 'result'}: {error.strerror or error}"
    if is_out_of_memory(error):
        return f"{name}: not enough memory"
    raise error


def _restore(
    outcome: Outcome, restorer: ImageRestorer, treatment: Treatment, streams: Streams, progress: Progress | None
) -> None:
    job, watch = outcome.job, _Watch()
    with open_stream(job.source.path or streams.source, job.source.name) as (stream, name):
        if job.unless_result and task_signed(probe(stream, name, treatment.max_pixels).software) == treatment.task:
            outcome.is_result = True
            return
        scale = restorer.scale
        if scale is None:
            header = probe(stream, name, treatment.max_pixels)
            scale = restorer.enlargement(header.width, header.height)
        image = read_picture(
            stream, name=name, max_output_pixels=treatment.max_pixels, scale=scale, allow_truncated=True
        )
    frames = image.frames if isinstance(image, Animation) else [image]
    first = frames[0]
    outcome.input_size, outcome.frames = (first.width, first.height), len(frames)
    outcome.truncated = any(frame.truncated for frame in frames)
    outcome.output_size = restorer.output_size(first.width, first.height)
    outcome.model = " + ".join(each.model_name for each in restorer.networks_for(first.width, first.height))
    border = -(-outcome.output_size[0] // first.width)
    if job.ground_truth is not None:
        _check_ground_truth(job.ground_truth, outcome, border)
    told = [levels_of(frame, restorer) for frame in frames]
    outcome.levels = told[0]
    outcome.sigmas = tuple(each.sigma for each in told if each.sigma is not None and each.sigma_origin == "estimated")
    logger.info("%s: read in %.1f s; told: %s", job.source.name, watch.lap(), str(outcome.levels) or "nothing")
    result = signed(restore_frames(image, restorer, treatment.alpha, told, progress), treatment.task)
    restored = result.frames[0] if isinstance(result, Animation) else result
    logger.info("%s: restored in %.1f s", job.source.name, watch.lap())
    _write(result, job, treatment.quality, streams)
    logger.info("%s: written in %.1f s", job.source.name, watch.lap())
    if job.ground_truth is not None:
        outcome.measurement = _measured(restored, job.ground_truth, treatment.task, border)
    if job.comparison is not None:
        _write_comparison(first, restored, job, outcome.model)


class _Watch:
    """Tells how long it is since it was last asked."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last call."""
        before, self._last = self._last, time.perf_counter()
        return self._last - before


def _write(result: Picture | Animation, job: Job, quality: int | None, streams: Streams) -> None:
    name = job.format or result.default_format
    if job.destination is not None:
        if isinstance(job.destination, Path):
            job.destination.parent.mkdir(parents=True, exist_ok=True)
        write_picture(result, job.destination, name, quality)
        return
    buffer = io.BytesIO()  # whole or not at all, on a stream too
    write_picture(result, buffer, name, quality)
    streams.write(buffer.getvalue())


def _check_ground_truth(path: Place, outcome: Outcome, scale: int) -> None:
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


def _measured(restored: Picture, ground_truth: Place, task: str, scale: int) -> Measurement:
    """PSNR and SSIM as published: 8 bits, and in super-resolution a border of `scale` pixels left out."""
    output = as_rgb8(restored.color)
    truth = read_rgb8(ground_truth)[: output.shape[0], : output.shape[1]]
    return measure(output, truth, scale if TASKS[task].crops_border else 0)


def _write_comparison(before: Picture, after: Picture, job: Job, model: str) -> None:
    if job.comparison is None:
        return
    panels = [
        Panel(
            "input" if before.width == after.width else f"input, bicubic x{after.width / before.width:.4g}",
            convert_depth(before.color, "uint8"),
        ),
        Panel(f"restored, {model}", convert_depth(after.color, "uint8")),
    ]
    if job.ground_truth is not None:
        truth = read_rgb8(job.ground_truth)[: after.height, : after.width]
        panels.append(Panel("ground truth", truth))
    write_picture(replace(after, color=side_by_side(panels), alpha=None), job.comparison, "PNG", None)
