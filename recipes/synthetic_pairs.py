"""Make pairs to train deblurring or dehazing on, from photographs.

    python recipes/synthetic_pairs.py blur FOLDER… --output data/blur
    python recipes/synthetic_pairs.py haze FOLDER… --output data/haze

writes `input/` and `target/`, and of every tenth photograph `validation/input/` and `validation/target/`, as
`data.pairs` and `validation.pairs` of a recipe want them. `photo_1.png`, `photo_2.png` … go with `photo.png`.
Photographs are made half as large first (`--reduce`), which takes blur, noise and JPEG artefacts of their own away.
What is drawn follows from the photograph's name and the seed; files that are there are kept: the same command goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

from mair_cli.datasets.haze import add_haze, made_up_depth, random_haze
from mair_cli.datasets.motion_blur import blur, random_path
from mair_cli.datasets.resize import matlab_bicubic
from mair_cli.errors import MairError
from mair_cli.images.io import Picture, read_rgb8, write_picture
from mair_cli.training.images import find_images

EXTENT = (1.0, 9.0)
"""Reach of motion in pixels, for photographs reduced by two: inputs of detailed ones then have 25 dB on the average, as
those of GoPro's test set have (25.6; Nah et al., CVPR 2017)."""
INERTIA = (0.1, 3.0)
ROTATION = math.radians(0.6)
HELD_OUT = 10

Degrade = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def blurred(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Motion blur of a random path."""
    inertia = math.exp(rng.uniform(*np.log(INERTIA)))
    return blur(image, random_path(rng, rng.uniform(*EXTENT), rng.uniform(0, ROTATION), inertia))


def hazy(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Haze over a made-up depth."""
    return add_haze(image, made_up_depth(rng, *image.shape[:2]), random_haze(rng))


KINDS: dict[str, Degrade] = {"blur": blurred, "haze": hazy}


def make_pairs(kind: str, photographs: list[Path], output: Path, copies: int, reduce: int, seed: int) -> int:
    """Write the pairs of all photographs; returns how many were new."""
    written = 0
    for number, path in enumerate(photographs):
        folder = output / "validation" if number % HELD_OUT == HELD_OUT - 1 else output
        image = read_rgb8(path)
        clear = image if reduce == 1 else matlab_bicubic(_cropped(image, reduce), Fraction(1, reduce))
        _write(folder / "target" / f"{_name(path)}.png", clear)
        for copy in range(1, copies + 1):
            target = folder / "input" / f"{_name(path)}_{copy}.png"
            if not target.exists():
                digest = hashlib.sha256(f"{seed}|{kind}|{path.name}|{copy}".encode()).digest()
                rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
                _write(target, KINDS[kind](clear, rng))
                written += 1
    return written


def _name(path: Path) -> str:
    """Without underscores: what stands before the first one is the target's name."""
    return path.stem.replace("_", "-")


def _cropped(image: np.ndarray, multiple: int) -> np.ndarray:
    height, width = (side // multiple * multiple for side in image.shape[:2])
    return np.ascontiguousarray(image[:height, :width])


def _write(path: Path, image: np.ndarray) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(Picture(color=image), path, "PNG", None)


def main(arguments: list[str] | None = None) -> int:
    """Parse and run; the exit code."""
    parser = argparse.ArgumentParser(description="Make pairs to train deblurring or dehazing on, from photographs.")
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("images", nargs="+", help="folders or files")
    parser.add_argument("--output", type=Path, required=True, help="folder for the pairs")
    parser.add_argument("--copies", type=int, default=2, help="inputs made of each photograph (default: 2)")
    parser.add_argument("--reduce", type=int, default=2, help="reduce photographs so many times first (default: 2)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if min(options.copies, options.reduce) < 1:
        parser.error("--copies and --reduce are 1 or more")
    try:
        photographs = find_images(options.images)
        written = make_pairs(options.kind, photographs, options.output, options.copies, options.reduce, options.seed)
    except MairError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stderr.write(f"{written} new pairs of {len(photographs)} photographs in {options.output}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
