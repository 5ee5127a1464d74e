"""Camera raw: recognised by content, developed plainly, in 16 bits and upright, bounded before it is decoded."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
from raw_files import dng

from mair_cli.errors import ImageError, UsageError
from mair_cli.images import read as reading
from mair_cli.images.io import Picture, default_format, probe, read_picture, writable_format
from mair_cli.images.raw import _complaints_raised

pytest.importorskip("rawpy")

SENSOR = np.full((48, 64), 13_000, np.uint16)
SENSOR[:24] = 40_000


def _still(data: bytes, name: str | None = None) -> Picture:
    found = read_picture(io.BytesIO(data), name)
    assert isinstance(found, Picture)
    return found


def test_a_raw_file_is_developed_in_16_bits_by_the_curve_of_srgb() -> None:
    found = _still(dng(SENSOR))
    assert (found.format, str(found.color.dtype), found.color.shape) == ("RAW", "uint16", (48, 64, 3))
    assert found.default_format == "PNG"
    for rows, linear in ((slice(4, 20), 40_000), (slice(28, 44), 13_000)):
        share = linear / 65535
        wanted = (1.055 * share ** (1 / 2.4) - 0.055) * 65535
        assert np.abs(found.color[rows, 4:-4].astype(float) - wanted).max() < 400


@pytest.mark.parametrize(("orientation", "side"), [(3, "below"), (6, "right"), (8, "left")])
def test_orientation_is_applied_once(orientation: int, side: str) -> None:
    """The bright upper half comes to lie where the camera says."""
    data = dng(SENSOR, orientation=orientation)
    info, found = probe(io.BytesIO(data)), _still(data)
    assert (info.width, info.height) == (found.width, found.height) == ((64, 48) if orientation == 3 else (48, 64))
    bright = {"below": np.s_[-10:, :], "right": np.s_[:, -10:], "left": np.s_[:, :10]}[side]
    assert found.color[bright].mean() > 1.2 * found.color.mean()
    assert found.exif is not None
    assert b"maker" in found.exif


def test_sizes_are_bounded_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def _never(*_: object) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(reading, "develop", _never)
    with pytest.raises(ImageError, match="limit"):
        read_picture(io.BytesIO(dng(SENSOR)), max_output_pixels=100)
    with pytest.raises(ImageError, match="more than the limit"):
        read_picture(io.BytesIO(dng(SENSOR, size=(60_000, 60_000))))


def test_every_cut_off_file_is_refused() -> None:
    data = dng(SENSOR)
    for length in range(8, len(data) - 1, 97):
        with pytest.raises(ImageError):
            read_picture(io.BytesIO(data[:length]), "cut.dng")


def test_without_the_library_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "a.NEF"
    path.write_bytes(dng(SENSOR))
    monkeypatch.setattr("mair_cli.images.formats.importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ImageError, match=re.escape('a.NEF: reading camera raw needs a plug-in: pip install "mair-cli[f')
    ):
        read_picture(path)


def test_raw_files_are_not_written() -> None:
    assert default_format("RAW", lossless=True, dtype="uint16") == "PNG"
    with pytest.raises(UsageError, match="cannot be written as"):
        writable_format(".dng")


def test_what_others_write_to_standard_error_meanwhile_arrives(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="unexpected end of file"), _complaints_raised():
        os.write(2, b"unknown file: Unexpected end of file\nfrom another thread\n")
    assert capfd.readouterr().err == "from another thread\n"
