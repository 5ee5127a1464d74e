"""Networks as ONNX files, which other runtimes read: by `torch.export`, with the scan in ONNX's standard operators."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mair_cli.errors import CheckpointError, UsageError
from mair_cli.networks import Network
from mair_cli.scan.backend import shuffle_attention
from mair_cli.scan.inputs import Gate, ScanInputs
from mair_cli.scan.orders import scan_orders
from mair_cli.scan.parallel import parallel_scan
from mair_cli.store.atomic import atomic_write
from mair_cli.store.files import disk_errors_as

__all__ = ["MOST_PIXELS", "check_packages", "largest_difference", "write_onnx"]

MOST_PIXELS = 512 * 512
"""Of an input: what is held at once grows with it, see `scan.parallel`."""
_PACKAGES = ("onnx", "onnxscript")


def check_packages() -> None:
    """Raise UsageError where the packages that write ONNX are missing."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"`onnx` needs {' and '.join(missing)}: pip install 'mair-cli[onnx]'")


def write_onnx(network: Network, path: Path, height: int, width: int) -> None:
    """Write a network as an ONNX file, complete or not at all.

    Its input `image` is (B, 3, height, width) float32 RGB in [0, 1], its output `restored`
    (B, 3, height · scale, width · scale), B being free; a network with levels has the inputs `noise_level` (σ/255) and
    `jpeg_level` ((100 - Q)/100) too, (B,) each. The size is fixed, since the order of the scan is part of the file.

    Args:
        network: on the CPU, float32.
        path: of the file; replaced if it exists.
        height: of inputs, in pixels.
        width: of inputs, in pixels.

    Raises:
        UsageError: the packages of the extra `onnx` are missing, or the size is out of range.
        CheckpointError: the file cannot be written.
    """
    check_packages()
    if min(height, width) < 1 or height * width > MOST_PIXELS:
        raise UsageError(f"`size` {width}x{height}: give at least one pixel, and at most {MOST_PIXELS:,}")
    image, levels = _example(network, height, width)
    with _quietly():
        exported = _in_common_operators(network, image, levels)
        program = torch.onnx.export(
            exported,
            dynamo=True,
            optimize=False,  # takes twice the time of all the rest; runtimes optimise what they load anyway
            verbose=False,
            output_names=["restored"],
            custom_translation_table=_translations(),
        )
    assert program is not None
    _tidy(program)
    with disk_errors_as(CheckpointError, f"Cannot write {path}"), atomic_write(path) as file:
        file.write(program.model_proto.SerializeToString())


def largest_difference(network: Network, path: Path, height: int, width: int) -> float | None:
    """Largest difference between a network and its ONNX file on a random image; None without onnxruntime."""
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    image, levels = _example(network, height, width)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {name: value.numpy() for name, value in {"image": image, **levels}.items()})
    with torch.inference_mode():
        return float((network(image, **levels) - torch.from_numpy(output)).abs().max())


def _tidy(program: torch.onnx.ONNXProgram) -> None:
    """What optimising would have done: no two things of one name (such as `mean`), and no notes on where from.

    The notes, with lines of source code and paths of this machine, are six times as large as all the rest.
    """
    from onnx_ir.passes.common import NameFixPass

    NameFixPass()(program.model)
    for node in program.model.graph:
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()


def _example(network: Network, height: int, width: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Random inputs; two of them, for a batch of one would be taken for fixed."""
    random = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, height, width, generator=random)
    return image, {level: torch.rand(2, generator=random) for level in network.levels}


def _in_common_operators(network: Network, image: Tensor, levels: dict[str, Tensor]) -> torch.export.ExportedProgram:
    shapes = {name: {0: torch.export.Dim.DYNAMIC} for name in ("image", *levels)}
    with torch.no_grad():
        exported = torch.export.export(network, (image,), levels, dynamic_shapes=shapes)
    table: dict[Any, Callable[..., Any]] = torch.export.default_decompositions()
    table[torch.ops.mair.selective_scan.default] = _selective_scan
    table[torch.ops.mair.merged_scan.default] = _merged_scan
    lowered: torch.export.ExportedProgram = exported.run_decompositions(table)
    return lowered


def _selective_scan(*arguments: Any) -> Tensor:  # noqa: ANN401 - an operator's tensors and its back end
    *tensors, _ = arguments
    return parallel_scan(ScanInputs(*tensors))


def _merged_scan(*arguments: Any) -> Tensor:  # noqa: ANN401 - likewise
    weight, bias, *tensors, _ = arguments
    return shuffle_attention(parallel_scan(ScanInputs(*tensors)), Gate(weight, bias))


def _translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """The one operator of ours that is left: an order, which is a constant."""
    from onnx import numpy_helper
    from onnxscript import opset18

    def order(height: int, width: int, stripe: int, shifted: bool, pattern: str, device: object) -> object:
        numbers = scan_orders(height, width, stripe, shifted, pattern).copy()
        return opset18.Constant(value=numpy_helper.from_array(numbers))

    return {torch.ops.mair.scan_orders.default: order}


@contextmanager
def _quietly() -> Iterator[None]:
    """Exporters tell of much that is no concern of ours, such as packages that they would know operators of."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
