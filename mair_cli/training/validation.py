"""Measuring a network while it trains: PSNR and SSIM as published (network.md, 9)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mair_cli.data.noise import add_published_noise
from mair_cli.evaluation.metrics import psnr, ssim
from mair_cli.training.images import ImagePair

# SSIM's window.
SMALLEST_SIDE = 11


@dataclass(frozen=True)
class Measurement:
    """Mean over the validation images.

    Attributes:
        measure: what was measured, such as "Y x4" or "RGB s25".
        psnr: dB.
        ssim: at most 1.
    """

    measure: str
    psnr: float
    ssim: float


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
def restore(network: nn.Module, image: np.ndarray, device: torch.device, sigma: float | None = None) -> np.ndarray:
    """Run a whole image ((H, W, 3), uint8 or float in [0, 1]) through a network; returns uint8.

    `sigma` (of 255) is passed on to networks with a noise-level map.
    """
    scaled = image.astype(np.float32) / np.float32(255) if image.dtype == np.uint8 else image
    x = torch.from_numpy(scaled).to(device).permute(2, 0, 1)[None]
    output = network(x) if sigma is None else network(x, torch.full((1,), sigma / 255, device=device))
    pixels = (output[0].float().clamp(0, 1) * 255).round().byte()
    restored: np.ndarray = pixels.permute(1, 2, 0).cpu().numpy()
    return restored


def measure_super_resolution(
    network: nn.Module, pairs: Sequence[ImagePair], scale: int, device: torch.device
) -> list[Measurement]:
    """PSNR and SSIM on the Y channel, `scale` pixels cropped from every edge, the whole image at once."""
    scores = []
    for pair in pairs:
        output = restore(network, pair.low, device)
        scores.append(_score(output, pair.high, scale, True))
    return [_mean(f"Y x{scale}", scores)]


def measure_denoising(
    network: nn.Module, pairs: Sequence[ImagePair], sigmas: Sequence[float], device: torch.device, told: bool
) -> list[Measurement]:
    """PSNR and SSIM on RGB with the published seeded noise, for each of `sigmas` (of 255).

    `told` says that the network takes the noise level as its second input.
    """
    results = []
    for sigma in sigmas:
        scores = []
        for pair in pairs:
            noisy = add_published_noise(pair.high, sigma)
            output = restore(network, noisy, device, sigma if told else None)
            scores.append(_score(output, pair.high, 0, False))
        results.append(_mean(f"RGB s{sigma:g}", scores))
    return results


def _score(output: np.ndarray, target: np.ndarray, crop: int, luma: bool) -> tuple[float, float]:
    similarity = math.nan
    if min(target.shape[:2]) - 2 * crop >= SMALLEST_SIDE:
        similarity = ssim(output, target, crop, luma)
    return psnr(output, target, crop, luma), similarity


def _mean(measure: str, scores: Sequence[tuple[float, float]]) -> Measurement:
    ratios, similarities = np.array(scores).T
    return Measurement(measure, float(ratios.mean()), float(similarities.mean()))
