"""A start from SPAN's weights computes what SPAN computes; here of weights made up in ncnn's format."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mair_cli.networks.frame import RGB_MEAN

RECIPES = Path(__file__).parents[2] / "recipes"
WIDTH, BLOCKS = 48, 6

Layers = list[tuple[Tensor, Tensor]]


@pytest.fixture
def span_start(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(RECIPES)
    return importlib.import_module("span_start")


def write_span(folder: Path, scale: int, half: bool) -> Layers:
    """Write a SPAN with weights of its own as ncnn would; returns those weights."""
    random = torch.Generator().manual_seed(scale)
    sizes = [(WIDTH, 3, 3)] + [(WIDTH, WIDTH, 3)] * (3 * BLOCKS + 1) + [(WIDTH, 4 * WIDTH, 1), (3 * scale**2, WIDTH, 3)]
    lines, data, layers = ["MemoryData mean 0 1 m 0=1 1=1 2=3"], np.zeros(3, np.float32).tobytes(), []
    for number, (out, inputs, side) in enumerate(sizes):
        weight = torch.randn(out, inputs, side, side, generator=random) / (inputs * side**2) ** 0.5
        weight = weight.half().float() if half else weight
        weight /= 255 if number == 0 else 1
        bias = 0.1 * torch.randn(out, generator=random)
        lines.append(f"Convolution c{number} 1 1 in out 0={out} 1={side} 4=1 5=1 6={weight.numel()}")
        stored = weight.half() if half else weight
        layers.append((stored.float(), bias))
        raw = stored.numpy().tobytes()
        data += (0x01306B47 if half else 0).to_bytes(4, "little") + raw + b"\0" * (-len(raw) % 4)
        data += bias.numpy().tobytes()
        lines.append("Swish act 1 1 out out")
    name = folder / f"spanx{scale}_ch{WIDTH}"
    name.with_suffix(".param").write_text("\n".join(["7767517", "1 1", *lines]))
    name.with_suffix(".bin").write_bytes(data)
    return layers


def span(image: Tensor, layers: Layers, scale: int) -> Tensor:
    """SPAN as its paper has it."""

    def convolve(x: Tensor, number: int) -> Tensor:
        weight, bias = layers[number]
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)

    x = shallow = convolve(255 * (image - torch.tensor(RGB_MEAN).view(3, 1, 1)), 0)
    outputs = []
    for block in range(BLOCKS):
        first = F.silu(convolve(x, 3 * block + 1))
        change = convolve(F.silu(convolve(first, 3 * block + 2)), 3 * block + 3)
        x = (change + x) * (change.sigmoid() - 0.5)
        outputs.append(x)
    joined = convolve(torch.cat([shallow, convolve(x, 19), outputs[0], first], 1), 20)
    return F.pixel_shuffle(convolve(joined, 21), scale)


@pytest.mark.parametrize(("scale", "half"), [(2, False), (4, True)])
def test_the_start_computes_what_span_computes(span_start: ModuleType, tmp_path: Path, scale: int, half: bool) -> None:
    layers = write_span(tmp_path, scale, half)
    image = torch.rand(1, 3, 20, 15)
    with torch.inference_mode():
        found = span_start.make_start(tmp_path, scale)(image, noise_level=0.2, jpeg_level=0.5)
        torch.testing.assert_close(found, span(image, layers, scale), atol=2e-5, rtol=0)


def test_the_start_for_x3_gives_the_nearest_pixels_of_x4(span_start: ModuleType, tmp_path: Path) -> None:
    layers = write_span(tmp_path, 4, False)
    image = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        found, expected = span_start.make_start(tmp_path, 3)(image), span(image, layers, 4)
    rows = [4 * (y // 3) + (0, 2, 3)[y % 3] for y in range(48)]
    torch.testing.assert_close(found, expected[:, :, rows][:, :, :, rows], atol=2e-5, rtol=0)


def test_weights_of_an_unknown_kind_are_refused(span_start: ModuleType, tmp_path: Path) -> None:
    write_span(tmp_path, 4, False)
    binary = tmp_path / "spanx4_ch48.bin"
    data = bytearray(binary.read_bytes())
    data[12:16] = b"\x01\x02\x03\x04"
    binary.write_bytes(data)
    with pytest.raises(SystemExit, match="unknown kind, 0x4030201"):
        span_start.make_start(tmp_path, 4)
