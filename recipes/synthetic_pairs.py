"""Make pairs to train deblurring or dehazing on, from photographs.

    python recipes/synthetic_pairs.py blur FOLDER… --output data/blur
    python recipes/synthetic_pairs.py haze FOLDER… --output data/haze

writes `input/` and `target/`, and of every tenth photograph `validation/input/` and `validation/target/`, as
`data.pairs` and `validation.pairs` of a recipe want them. `photo_1.png`, `photo_2.png` … go with `photo.png`.
Photographs are made half as large first (`--reduce`), which takes blur, noise and JPEG artefacts of their own away.

Pairs to train on are varied: things that move by themselves, depths that jump at outlines, blur and haze beyond the
usual, and, in the input, what photographs go through afterwards (slight noise, JPEG). `--plain` makes pairs to measure
by: one camera's motion, or haze over a smooth depth, and nothing else; so are all in `validation/`.
What is drawn follows from the photograph's name and the seed; files that are there are kept: the same command goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mair_cli.datasets.degradations import add_noise, compress
from mair_cli.datasets.haze import USUAL_DENSITY, add_haze, along_outlines, made_up_depth, random_haze
from mair_cli.datasets.motion_blur import (
    GAMMA,
    CameraPath,
    MovingObject,
    blur,
    random_outline,
    random_path,
    with_object,
)
from mair_cli.datasets.resize import matlab_bicubic
from mair_cli.errors import MairError
from mair_cli.images.io import Picture, read_rgb8, write_picture
from mair_cli.training.images import find_images

EXTENT = (1.0, 9.0)
"""Reach of motion in pixels, for photographs reduced by two: inputs of detailed ones then have 25 dB on the average, as
those of GoPro's test set have (25.6; Nah et al., CVPR 2017)."""
FAR = (9.0, 18.0)
STILL = (0.0, 1.0)
INERTIA = (0.1, 3.0)
ROTATION = math.radians(0.6)
TONE_CURVES = (1.0, 2.4)
COVERED = 0.3

DENSE = (2.0, 3.0)
FAINT = (0.0, 0.3)
BRIGHTNESS = (-0.18, 0.18)

NOISE = 4.0
QUALITY = (40, 98)
HELD_OUT = 10


class Pair(NamedTuple):
    """Two (H, W, 3) RGB uint8 images: what a network is given, and what it is to make of it."""

    given: np.ndarray
    clear: np.ndarray


Picked = Callable[[], np.ndarray]
"""Another photograph, of the same size."""


def plain_blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Motion blur of a random path."""
    return blur(image, _path(rng, EXTENT))


def plain_haze(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Haze over a smooth, made-up depth."""
    return add_haze(image, made_up_depth(rng, *image.shape[:2]), random_haze(rng))


def varied_blur(image: np.ndarray, another: Picked, rng: np.random.Generator) -> Pair:
    """Motion blur: far or hardly any now and then, by other tone curves, a thing that moves before one picture in four.

    Of sharp pictures a network has to learn that they are to stay as they are.
    """
    amount, curved, covered, shaken = rng.random(4)
    path = _path(rng, FAR if amount < 0.12 else STILL if amount > 0.88 else EXTENT)
    gamma = rng.uniform(*TONE_CURVES) if curved < 0.25 else GAMMA
    if covered >= 0.25:
        return Pair(blur(image, path, gamma=gamma), image)
    own = _path(rng, EXTENT)
    if shaken < 0.5:  # the camera's own motion comes on top
        own = CameraPath(own.shift + path.shift, own.angle + path.angle)
    thing = MovingObject(another(), random_outline(rng, *image.shape[:2], COVERED), own)
    return Pair(blur(image, path, thing, gamma), with_object(image, thing, gamma))


def varied_haze(image: np.ndarray, another: Picked, rng: np.random.Generator) -> Pair:
    """Haze: dense or faint now and then, along the outlines of the picture in two of five."""
    amount, outlined = rng.random(2)
    depth = made_up_depth(rng, *image.shape[:2])
    if outlined < 0.4:
        depth = along_outlines(depth, image, rng.uniform(*BRIGHTNESS))
    density = DENSE if amount < 0.15 else FAINT if amount < 0.21 else USUAL_DENSITY
    return Pair(add_haze(image, depth, random_haze(rng, density)), image)


def worn(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What photographs go through afterwards: slight noise in one of five, JPEG in one of three."""
    noisy, compressed = rng.random(2)
    if noisy < 0.2:
        noise = add_noise(image, rng.uniform(0, NOISE), rng)
        image = np.rint(noise * 255).clip(0, 255).astype(np.uint8)
    return compress(image, int(rng.integers(*QUALITY))) if compressed < 0.35 else image


@dataclass(frozen=True)
class Kind:
    """Of what pairs are made: for measuring and for training."""

    plain: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    varied: Callable[[np.ndarray, Picked, np.random.Generator], Pair]


KINDS = {"blur": Kind(plain_blur, varied_blur), "haze": Kind(plain_haze, varied_haze)}


@dataclass(frozen=True)
class Maker:
    """Makes pairs of one kind of photographs; see the arguments of the command."""

    kind: str
    photographs: list[Path]
    output: Path
    copies: int
    reduce: int
    seed: int
    plain: bool

    def make(self) -> int:
        """Write the pairs of all photographs; returns how many were new."""
        written = 0
        for number, path in enumerate(self.photographs):
            held_out = not self.plain and number % HELD_OUT == HELD_OUT - 1
            folder = self.output / "validation" if held_out else self.output
            clear = self._clear(path)
            for copy in range(1, self.copies + 1):
                digest = hashlib.sha256(f"{self.seed}|{self.kind}|{path.name}|{copy}".encode()).digest()
                rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
                written += self._write_pair(folder, path, copy, clear, rng, varied=not (self.plain or held_out))
        return written

    def _write_pair(
        self, folder: Path, path: Path, copy: int, clear: np.ndarray, rng: np.random.Generator, *, varied: bool
    ) -> bool:
        """One pair, unless it is there; of varied ones each has a target of its own."""
        name = f"{_name(path)}-{copy}" if varied else _name(path)
        given, target = folder / "input" / f"{name}_{copy}.png", folder / "target" / f"{name}.png"
        if given.exists() and target.exists():
            return False
        kind = KINDS[self.kind]
        if varied:
            pair = kind.varied(clear, lambda: self._another(clear.shape, rng), rng)
            pair = Pair(worn(pair.given, rng), pair.clear)
        else:
            pair = Pair(kind.plain(clear, rng), clear)
        _write(target, pair.clear)
        _write(given, pair.given)
        return True

    def _clear(self, path: Path) -> np.ndarray:
        image = read_rgb8(path)
        if self.reduce == 1:
            return image
        height, width = (side // self.reduce * self.reduce for side in image.shape[:2])
        return matlab_bicubic(np.ascontiguousarray(image[:height, :width]), Fraction(1, self.reduce))

    def _another(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """A photograph drawn from all, its middle repeated or cut to fit."""
        image = self._clear(self.photographs[int(rng.integers(len(self.photographs)))])
        pads = [max(0, wanted - side) for wanted, side in zip(shape[:2], image.shape[:2], strict=True)]
        image = np.pad(image, [(pad // 2, pad - pad // 2) for pad in pads] + [(0, 0)], "symmetric")
        top, left = ((side - wanted) // 2 for wanted, side in zip(shape[:2], image.shape[:2], strict=True))
        return np.ascontiguousarray(image[top : top + shape[0], left : left + shape[1]])


def _path(rng: np.random.Generator, extent: tuple[float, float]) -> CameraPath:
    inertia = math.exp(rng.uniform(*np.log(INERTIA)))
    return random_path(rng, rng.uniform(*extent), rng.uniform(0, ROTATION), inertia)


def _name(path: Path) -> str:
    """Without underscores: what stands before the first one is the target's name."""
    return path.stem.replace("_", "-")


def _write(path: Path, image: np.ndarray) -> None:
    if path.exists():
        return
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
    parser.add_argument("--plain", action="store_true", help="pairs to measure by, of all photographs")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if min(options.copies, options.reduce) < 1:
        parser.error("--copies and --reduce are 1 or more")
    try:
        photographs = find_images(options.images)
        maker = Maker(
            options.kind, photographs, options.output, options.copies, options.reduce, options.seed, options.plain
        )
        written = maker.make()
    except MairError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stderr.write(f"{written} new pairs of {len(photographs)} photographs in {options.output}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
