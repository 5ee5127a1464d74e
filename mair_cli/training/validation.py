"""Measuring a network while it trains: PSNR and SSIM as published (network.md, 9)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from mair_cli.datasets.degradations import Degradation, reduce_image
from mair_cli.measure.metrics import psnr, ssim
from mair_cli.networks import Network
from mair_cli.networks.levels import levels_for
from mair_cli.training.images import ImagePair

# SSIM's window.
SMALLEST_SIDE = 11


class ImageScore(NamedTuple):
    """One validation image: its name, PSNR in dB and SSIM."""

    image: str
    psnr: float
    ssim: float


@dataclass(frozen=True)
class ValidationScore:
    """Mean over the validation images.

    Attributes:
        measure: what was measured, such as "Y x4", "Y x4 q75" (JPEG) or "RGB s25" (noise).
        psnr: dB.
        ssim: at most 1.
        images: of which these are the means.
    """

    measure: str
    psnr: float
    ssim: float
    images: tuple[ImageScore, ...] = ()


def central(pair: ImagePair, side: int, scale: int) -> ImagePair:
    """The central square of at most `side` target pixels; 0 leaves the pair alone."""
    if side == 0:
        return pair
    height, width = (min(length, max(1, side // scale)) for length in pair.low.shape[:2])
    y, x = (pair.low.shape[0] - height) // 2, (pair.low.shape[1] - width) // 2
    low = pair.low[y : y + height, x : x + width]
    high = pair.high[y * scale : (y + height) * scale, x * scale : (x + width) * scale]
    return ImagePair(pair.name, np.ascontiguousarray(low), np.ascontiguousarray(high))


@torch.inference_mode()
def restore(network: Network, image: np.ndarray, device: torch.device, told: Degradation) -> np.ndarray:
    """Run a whole image ((H, W, 3), uint8 or float in [0, 1]) through a network; returns uint8.

    Of what was done to the image, `told`, the network is told the levels that it takes.
    """
    scaled = image.astype(np.float32) / np.float32(255) if image.dtype == np.uint8 else image
    x = torch.from_numpy(scaled).to(device).permute(2, 0, 1)[None]
    levels = levels_for(network.config, told.sigma, told.quality)
    output = network(x, **levels)
    pixels = (output[0].float().clamp(0, 1) * 255).round().byte()
    restored: np.ndarray = pixels.permute(1, 2, 0).cpu().numpy()
    return restored


def measure(
    network: Network,
    pairs: Sequence[ImagePair],
    scale: int,
    luma: bool,
    degradations: Sequence[Degradation],
    device: torch.device,
) -> list[ValidationScore]:
    """Mean PSNR and SSIM over `pairs` for each degradation, the whole image at once.

    Super-resolution is measured on Y with `scale` pixels cropped from every edge, tasks at the same size on RGB.
    """
    results = []
    for degradation in degradations:
        scores = []
        for pair in pairs:
            small = pair.low if degradation.kernel == "bicubic" else reduce_image(pair.high, scale, degradation.kernel)
            output = restore(network, degradation.apply(small), device, degradation)
            scores.append(ImageScore(pair.name, *_score(output, pair.high, scale if luma else 0, luma)))
        results.append(_mean(_label(scale, luma, degradation), scores))
    return results


def _label(scale: int, luma: bool, degradation: Degradation) -> str:
    parts = [f"Y x{scale}" if luma else "RGB"]
    parts += [degradation.kernel] if degradation.kernel != "bicubic" else []
    parts += [f"s{degradation.sigma:g}"] if degradation.sigma else []
    parts += [f"q{degradation.quality}"] if degradation.quality is not None else []
    return " ".join(parts)


def _score(output: np.ndarray, target: np.ndarray, crop: int, luma: bool) -> tuple[float, float]:
    similarity = math.nan
    if min(target.shape[:2]) - 2 * crop >= SMALLEST_SIDE:
        similarity = ssim(output, target, crop, luma)
    return psnr(output, target, crop, luma), similarity


def _mean(measure: str, scores: Sequence[ImageScore]) -> ValidationScore:
    ratios, similarities = np.array([(score.psnr, score.ssim) for score in scores]).T
    return ValidationScore(measure, float(ratios.mean()), float(similarities.mean()), tuple(scores))
