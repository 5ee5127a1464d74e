"""Calls the command line in this process or another, and draws small pictures for it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from mair_cli.cli.app import build_app

REFERENCE = Path(__file__).parents[1] / "reference"
TINY_X4 = ("--weights", REFERENCE / "light_d1_x4.pth", "--stripe", 8)
"""A random network of a few thousand numbers: quick, and good enough wherever quality does not matter."""


@dataclass(frozen=True)
class Ran:
    """What a call of `mair` gave."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """stdout as text."""
        return self.out.decode("utf-8")

    @property
    def records(self) -> list[dict[str, Any]]:
        """stdout as JSON lines; fails if there is anything else."""
        return [json.loads(line) for line in self.text.splitlines()]


def mair(*arguments: object, stdin: bytes | None = None) -> Ran:
    """Call `mair`; a defect that users would see as "unexpected" raises here."""
    words = [str(argument) for argument in arguments]
    result = CliRunner().invoke(build_app(words), words, input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout_bytes, result.stderr)


def settle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder of one's own, with an empty cache and no network."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MAIR_CACHE_DIR", str(folder.parent / f"{folder.name}-cache"))
    monkeypatch.setenv("MAIR_OFFLINE", "1")
    monkeypatch.setenv("MAIR_DEBUG", "1")
    monkeypatch.setenv("COLUMNS", "200")


def drawing(width: int = 16, height: int = 12, mode: str = "RGB") -> Image.Image:
    """Smooth colours with an edge, so that formats with loss keep it recognisable; alpha is a slope."""
    y, x = np.mgrid[0:height, 0:width]
    slope = (x * 255 // max(1, width - 1)).astype(np.uint8)
    image = Image.fromarray(np.stack([slope, y * 255 // max(1, height - 1), (x > y) * 200], axis=-1).astype(np.uint8))
    image = image.convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(slope))
    return image


def photo(name: str, width: int = 16, height: int = 12, mode: str = "RGB") -> Path:
    """Write such a drawing into the current folder."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing(width, height, mode).save(path)
    return path


def files(folder: Path | str = ".") -> set[str]:
    """Every file below a folder, hidden ones (leftovers of unfinished writing) included."""
    return {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}


def start(*words: str) -> subprocess.Popen[str]:
    """A process of its own that runs the command."""
    return subprocess.Popen(
        [sys.executable, "-m", "mair_cli", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
