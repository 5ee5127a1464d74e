"""Every command that README and docs show: its options exist and take such values, its files are there, and it runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from typer.main import get_command

from mair_cli.cli.app import build_app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
GROUP: Any = get_command(build_app())


def shown(page: Path) -> list[str]:
    """Commands on lines of their own, continued lines joined and comments cut off."""
    text = page.read_text("utf-8").replace("\\\n", " ")
    lines = [line.split(" && ")[-1].strip() for line in text.splitlines() if line.startswith("    ")]
    return [line.partition("  #")[0].strip() for line in lines if line.startswith("mair ")]


SHOWN = [(page.name, line) for page in PAGES for line in shown(page)]
SPANS = [(page.name, span) for page in PAGES for span in re.findall(r"`mair ([^`]+)`", page.read_text("utf-8"))]


def test_the_pages_show_commands() -> None:
    assert len(SHOWN) > 15
    assert len(SPANS) > 15


@pytest.mark.parametrize(("page", "line"), SHOWN)
def test_a_command_on_a_line_of_its_own_is_understood(page: str, line: str) -> None:
    _, name, *words = shlex.split(line)
    GROUP.commands[name].make_context(name, words)  # raises for an option or a value that there is not
    for word in words:
        if word.startswith("recipes/"):
            assert (ROOT / word).is_file()


@pytest.mark.parametrize(("page", "span"), SPANS)
def test_a_command_in_running_text_names_what_there_is(page: str, span: str) -> None:
    name, *words = span.split()
    if name.startswith("-") or name == "COMMAND":
        return
    assert name in GROUP.commands, f"{page}: mair {span}"
    known = {flag for option in GROUP.commands[name].params for flag in option.opts} | {"--help"}
    assert {word for word in words if word.startswith("-") and len(word) > 1} <= known, f"{page}: mair {span}"


@pytest.fixture
def place(tmp_path: Path, photograph: npt.NDArray[np.uint8]) -> Path:
    """A folder with what the README speaks of: photo.png, folder/, and a benchmark set."""
    for name, size in (("photo.png", 24), ("folder/a.png", 24), ("data/Set5/baby.png", 32), ("data/Set5/bird.png", 36)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph[:size, : size + 4]).save(tmp_path / name)
    sample = tmp_path / "docs" / "images" / "lighthouse.png"
    sample.parent.mkdir(parents=True)
    Image.fromarray(photograph[:30, :20]).save(sample)
    return tmp_path


RESULTS = {
    "mair upscale photo.png --scale 4": {"photo_mair_x4.png"},
    "mair upscale photo.png --scale 1.5": {"photo_mair_x1.5.png"},
    "mair denoise": {"folder_mair_denoised/a.png"},
    "mair upscale docs": {"docs/images/lighthouse_mair_x4.png", "docs/images/lighthouse_mair_x4_compare.png"},
}
"""What commands of the README write, by how they begin."""


@pytest.mark.parametrize("line", shown(ROOT / "README.md"))
def test_the_commands_of_the_readme_run_offline(place: Path, line: str) -> None:
    environment = {
        **os.environ,
        "MAIR_OFFLINE": "1",
        "MAIR_CACHE_DIR": str(place / "cache"),
        "MAIR_DATA_DIR": str(place / "data"),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "mair_cli", *shlex.split(line)[1:]]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = {path.relative_to(place).as_posix() for path in place.rglob("*.png")}
    for start, names in RESULTS.items():
        assert names <= made or not line.startswith(start)
