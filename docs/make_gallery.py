"""Makes the pictures of docs/gallery.md and prints its table: run `python docs/make_gallery.py` in the repository.

Needs scikit-image, whose package holds the photographs, and Chromium for the screenshot.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage import data

from mair_cli.datasets.haze import Haze, add_haze, made_up_depth
from mair_cli.datasets.motion_blur import blur, random_path

IMAGES = Path(__file__).parent / "images" / "gallery"
PAGE = "<body style='font: 14px sans-serif; margin: 12px'><h3>Orders</h3><table border=1><tr><th>No.<th>Name<th>Sum"


def reduced(samples: npt.NDArray[Any], factor: int) -> Image.Image:
    """A photograph made smaller."""
    image = Image.fromarray(samples)
    return image.resize((image.width // factor, image.height // factor), Image.Resampling.BICUBIC)


def save_small_jpeg(path: Path) -> None:
    """A face of a few pixels in a strongly compressed file."""
    reduced(data.astronaut()[:256, 96:352], 2).save(path, quality=50)


def save_noisy(path: Path) -> None:
    """Noise of level 25, drawn here."""
    clean = data.coffee()[60:380, 100:500].astype(np.float64)
    noisy = clean + np.random.default_rng(0).normal(0, 25, clean.shape)
    Image.fromarray(noisy.clip(0, 255).round().astype(np.uint8)).save(path)


def save_page(path: Path) -> None:
    """A written page, photographed; a PNG file made of a JPEG."""
    Image.fromarray(data.text()).save(path)


def save_screenshot(path: Path) -> None:
    """A small table as Chromium shows it."""
    rows = "".join(f"<tr><td>{1000 + 37 * n}<td>Customer {n}<td>{n * 12.5:.2f} €" for n in range(1, 6))
    page = path.with_suffix(".html")
    page.write_text(f"<meta charset=utf-8>{PAGE}{rows}</table>", "utf-8")
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=240,200", f"--screenshot={path}"]
    subprocess.run(["chromium", *options, page.as_uri()], check=True, capture_output=True)


def save_blurred(path: Path) -> None:
    """A clock, the camera moving."""
    Image.fromarray(data.clock()).crop((60, 20, 300, 260)).save(path)


def save_shaken(path: Path) -> None:
    """A cat, blurred here."""
    cat = np.ascontiguousarray(data.chelsea())
    Image.fromarray(blur(cat, random_path(np.random.default_rng(1), 9.0, 0.01, 0.4))).save(path)


def save_hazy(path: Path) -> None:
    """A rocket, haze made here."""
    rocket = np.ascontiguousarray(data.rocket())
    depth = made_up_depth(np.random.default_rng(2), *rocket.shape[:2])
    Image.fromarray(add_haze(rocket, depth, Haze(1.3, np.array([0.85, 0.86, 0.88], np.float32)))).save(path)


def save_tiny(path: Path) -> None:
    """A face of some twenty pixels."""
    reduced(data.astronaut()[:256, 96:352], 6).save(path)


@dataclass(frozen=True)
class Example:
    """A picture: how it is made, and what is asked of the tool."""

    file: str
    save: Callable[[Path], None]
    command: str
    words: tuple[str, ...] = ()


EXAMPLES = (
    Example("portrait.jpg", save_small_jpeg, "upscale"),
    Example("coffee.png", save_noisy, "denoise"),
    Example("cat.png", save_shaken, "deblur"),
    Example("rocket.png", save_hazy, "dehaze"),
    Example("page.png", save_page, "upscale", ("--jpeg", "40")),
    Example("page-untold.png", save_page, "upscale", ("--scale", "2")),
    Example("screenshot.png", save_screenshot, "upscale", ("--scale", "2")),
    Example("clock.png", save_blurred, "deblur"),
    Example("face.png", save_tiny, "upscale", ("--scale", "8")),
)


def main() -> None:
    """Make all, and print what was run and how long it took."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for example in EXAMPLES:
            path = Path(folder, example.file)
            example.save(path)
            words = ["mair", example.command, example.file, *example.words, "--compare"]
            ran = subprocess.run([*words, "--json"], cwd=folder, check=True, capture_output=True)
            record = json.loads(ran.stdout)
            target = IMAGES / f"{path.stem}.webp"
            Image.open(Path(folder, record["compare"])).save(target, quality=75)
            size = (
                f"{record['input_width']}×{record['input_height']} → {record['output_width']}×{record['output_height']}"
            )
            sys.stdout.write(f"{' '.join(words)}: {size}, {record['seconds']:.1f} s, {record['model']}\n")


if __name__ == "__main__":
    main()
