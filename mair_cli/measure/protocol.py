"""How a result is measured: inputs, cropping and rounding as the papers of the field do it, so that figures compare.

super-resolution   low resolution from MATLAB's antialiased bicubic, ground truth cropped to its size times the
                   scale, output rounded to 8 bits, `scale` pixels cropped from every edge; papers print Y
Gaussian noise     seeded anew for each image, added to the float image in BGR order, not clipped, not rounded, no
                   crop; papers print RGB
JPEG               Pillow's encoder (libjpeg's tables), 4:2:0, gray files as gray; no crop; papers print RGB, or gray
noise, blur, haze  pairs as they are, whole, no crop; papers print RGB, and SSIM with a window over channels too
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from statistics import fmean

import numpy as np

from mair_cli.datasets.degradations import Degradation
from mair_cli.datasets.mat_files import read_block
from mair_cli.datasets.pairs import Sample
from mair_cli.datasets.resize import matlab_bicubic
from mair_cli.errors import ImageError, UsageError
from mair_cli.images.io import Picture, read_picture, read_rgb8
from mair_cli.images.picture import convert_depth
from mair_cli.measure.metrics import psnr, ssim, ssim_3d
from mair_cli.tasks import TASKS, Channel, Task, find_task

__all__ = ["MeasureProtocol", "Measurement", "Pair", "load_pair", "mean_of", "measure", "to_bytes"]


SCALES = (2, 3, 4, 8)
"""Enlargements that papers measure."""


@dataclass(frozen=True)
class MeasureProtocol:
    """What is restored, from what.

    Attributes:
        task: a name in `mair_cli.tasks.TASKS`.
        scale: enlargement; 1 for tasks that keep the size.
        sigma: noise level of 255 that is added to inputs; None for none.
        quality: JPEG quality that inputs are compressed with, after any noise; None for none.
    """

    task: str
    scale: int = 1
    sigma: float | None = None
    quality: int | None = None

    def __post_init__(self) -> None:
        """Raises UsageError for what does not go together, naming it in backquotes."""
        kind = self.kind
        if kind.enlarges and self.scale not in SCALES:
            *others, last = SCALES
            wanted = f"{', '.join(map(str, others))} or {last}"
            raise UsageError(f"`scale` {self.scale}: super-resolution is measured at {wanted}")
        if not kind.enlarges and self.scale != 1:
            raise UsageError(f"`scale` belongs to `task` sr, not to {self.task}")
        for name, value, needed in (
            ("sigma", self.sigma, kind.inputs == "noisy"),
            ("jpeg", self.quality, kind.inputs == "compressed"),
        ):
            if value is not None and name not in kind.settings:
                takers = ", ".join(task.name for task in TASKS.values() if name in task.settings)
                raise UsageError(f"`{name}` goes with `task` {takers}, not with {self.task}")
            if value is None and needed:
                raise UsageError(f"`task` {self.task} needs `{name}`")
        if self.sigma is not None and not 0 < self.sigma <= 255:
            raise UsageError(f"`sigma` {self.sigma:g}: a noise level is above 0 and at most 255")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise UsageError(f"`jpeg` {self.quality}: a quality lies in 1 to 100")

    @property
    def kind(self) -> Task:
        """The task itself."""
        return find_task(self.task)

    @property
    def degradation(self) -> Degradation:
        """What is done to inputs once they have their size."""
        return Degradation(self.sigma or 0.0, self.quality)

    @property
    def crop(self) -> int:
        """Pixels left out at every edge."""
        return self.scale if self.kind.crops_border else 0

    @property
    def headline(self) -> Channel:
        """The channels that papers print for this task."""
        return self.kind.headline

    @property
    def title(self) -> str:
        """Task and degree, such as "super-resolution ×4"."""
        return self.kind.title(scale=self.scale, sigma=self.sigma, quality=self.quality)


@dataclass(frozen=True)
class Measurement:
    """PSNR in dB (infinite for equal images) and SSIM, on Y and on RGB.

    Attributes:
        ssim_3d: on RGB, with a window over channels too (`metrics.ssim_3d`); None for tasks whose papers don't use it.
        perceptual: what `measure.perceptual` gave, by name.
    """

    psnr_y: float
    ssim_y: float
    psnr_rgb: float
    ssim_rgb: float
    ssim_3d: float | None = None
    perceptual: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Pair:
    """A test image, ready to be restored.

    Attributes:
        degraded: (h, w, 3) RGB; uint8, or for Gaussian denoising float32 around [0, 1], not clipped.
        truth: (H, W, 3) RGB uint8, with H = h · scale and W = w · scale.
        digest: SHA-256 over both, so that results can be matched with the images that they came from.
        gray: whether the file of the ground truth has one channel only.
    """

    degraded: np.ndarray
    truth: np.ndarray
    digest: str
    gray: bool


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Clip and round a float image in [0, 1] to uint8, halves to even as published code does; uint8 passes through."""
    if image.dtype == np.uint8:
        return image
    return np.rint(image.clip(0.0, 1.0) * 255.0).astype(np.uint8)


def _read(path: Path) -> np.ndarray:
    picture = read_picture(path)
    if not isinstance(picture, Picture):
        raise ImageError(f"{path}: an animation cannot be measured")
    return convert_depth(picture.color, "uint8")


def _spread(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)


def load_pair(sample: Sample, protocol: MeasureProtocol) -> Pair:
    """Read, or make, the input of a sample, and fit the ground truth to it.

    Raises:
        ImageError: a file cannot be read, the sizes do not belong together, or the image is too small to be measured.
    """
    stored = _read(sample.truth) if sample.block is None else read_block(sample.truth, sample.block)
    truth = _spread(stored)
    if protocol.kind.inputs == "given":
        degraded = _given_input(sample, truth)
    else:
        # Gray files are compressed as gray: three equal channels would be another JPEG.
        clean = stored if protocol.scale == 1 and protocol.quality is not None and not protocol.sigma else truth
        if protocol.scale > 1:
            clean, truth = _super_resolution_pair(sample, truth, protocol.scale)
        degraded = _spread(protocol.degradation.apply(clean))
    if min(truth.shape[:2]) - 2 * protocol.crop < 11:
        raise ImageError(f"{sample.truth}: {_size(truth)} are too few to measure; 11x11 must be left after cropping")
    hashed = hashlib.sha256(repr((truth.shape, degraded.shape)).encode())
    hashed.update(truth.tobytes())
    hashed.update(np.ascontiguousarray(degraded).tobytes())
    return Pair(degraded, truth, hashed.hexdigest(), gray=stored.ndim == 2)


def _given_input(sample: Sample, truth: np.ndarray) -> np.ndarray:
    if sample.degraded is None:
        raise ImageError(f"{sample.truth}: no input to restore")
    degraded = read_rgb8(sample.degraded) if sample.block is None else read_block(sample.degraded, sample.block)
    if degraded.shape != truth.shape:
        raise ImageError(f"{sample.degraded}: {_size(degraded)}, but its ground truth has {_size(truth)}")
    return degraded


def _super_resolution_pair(sample: Sample, truth: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
    if sample.degraded is None:
        height, width = (side // scale * scale for side in truth.shape[:2])
        if min(height, width) == 0:
            raise ImageError(f"{sample.truth}: {_size(truth)} are too few for x{scale}")
        truth = truth[:height, :width]
        return matlab_bicubic(truth, Fraction(1, scale)), truth
    degraded = read_rgb8(sample.degraded)
    height, width = (side * scale for side in degraded.shape[:2])
    # Up to scale - 1 rows and columns of the ground truth may be too many: those that did not divide.
    if not (0 <= truth.shape[0] - height < scale and 0 <= truth.shape[1] - width < scale):
        raise ImageError(
            f"{sample.degraded}: {_size(degraded)} enlarged x{scale} do not give "
            f"the {_size(truth)} of {sample.truth.name}"
        )
    return degraded, truth[:height, :width]


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]} pixels"


def mean_of(figures: Sequence[Measurement]) -> Measurement:
    """The mean of each figure; infinite where any is."""
    known = [figure.ssim_3d for figure in figures if figure.ssim_3d is not None]
    return Measurement(
        psnr_y=fmean(figure.psnr_y for figure in figures),
        ssim_y=fmean(figure.ssim_y for figure in figures),
        psnr_rgb=fmean(figure.psnr_rgb for figure in figures),
        ssim_rgb=fmean(figure.ssim_rgb for figure in figures),
        ssim_3d=fmean(known) if known else None,
        perceptual={name: fmean(figure.perceptual[name] for figure in figures) for name in figures[0].perceptual},
    )


def measure(output: np.ndarray, truth: np.ndarray, crop: int, over_channels: bool = False) -> Measurement:
    """PSNR and SSIM of a restored image, on Y and on RGB.

    Args:
        output: (H, W, 3) RGB uint8.
        truth: the same shape and type.
        crop: pixels left out at every edge, see `MeasureProtocol.crop`.
        over_channels: take SSIM with a window over channels too, see `Task.measured_whole`.

    Raises:
        ImageError: the shapes differ or are too small.
    """
    return Measurement(
        psnr_y=psnr(output, truth, crop, y_channel=True),
        ssim_y=ssim(output, truth, crop, y_channel=True),
        psnr_rgb=psnr(output, truth, crop),
        ssim_rgb=ssim(output, truth, crop),
        ssim_3d=ssim_3d(output, truth) if over_channels else None,
    )
