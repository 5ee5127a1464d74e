"""The examples of docs/api.md and of the README's Python part run as they stand, and do what they say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]


def examples(page: str) -> list[str]:
    """The blocks of Python code of a page."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photograph: npt.NDArray[np.uint8]) -> Path:
    """A folder with the photograph that the examples speak of, no network and an empty cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAIR_OFFLINE", "1")
    monkeypatch.setenv("MAIR_CACHE_DIR", str(tmp_path / "cache"))
    Image.fromarray(photograph[:40, :48]).save("photo.jpg", quality=90, dpi=(300, 300), exif=_exif())
    return tmp_path


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    return exif


def test_the_page_of_the_python_interface_runs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for block in examples("docs/api.md"):
        exec(compile(block, "docs/api.md", "exec"), names)
    assert names["enlarged"].shape == (80, 96, 3)
    assert names["cleaned"].shape == (40, 48, 3)
    assert tuple(names["y"].shape) == (1, 3, 96, 128)
    assert names["told"] == names["restorer"].levels(names["image"], file_quality=90)
    said = capsys.readouterr().out
    assert said.startswith("<Restorer sr ×2: mair-lite-x2 (bundled weights), back end ")
    assert "(estimated)" in said
    assert "`sigma` is for super-resolution and Gaussian denoising: motion deblurring takes none." in said
    with Image.open("large/photo.png") as result:
        assert result.size == (96, 80)
        assert result.getexif()[0x010F] == "Camera"
    assert Path("large/photo.webp").is_file()


def test_the_example_of_the_readme_runs(place: Path, photograph: npt.NDArray[np.uint8]) -> None:
    names: dict[str, Any] = {"image": photograph[:10, :12]}
    for block in examples("README.md"):
        exec(compile(block, "README.md", "exec"), names)
    assert names["enlarged"].shape == (40, 48, 3)
