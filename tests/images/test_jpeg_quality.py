"""The quality of a JPEG file is read from its tables, and belongs to the samples of that file alone."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mair_cli.images.io import Animation, Picture, probe, read_picture, write_picture
from mair_cli.images.jpeg_quality import jpeg_quality, standard_tables

Table = npt.NDArray[np.int_]


def _picture(data: bytes) -> Picture:
    found = read_picture(io.BytesIO(data))
    assert isinstance(found, Picture)
    return found


def _jpeg(mode: str = "RGB", **options: Any) -> bytes:
    out = io.BytesIO()
    samples = np.random.default_rng(3).integers(0, 256, (24, 40, 3)).astype(np.uint8)
    Image.fromarray(samples).convert(mode).save(out, options.pop("form", "JPEG"), **options)
    return out.getvalue()


def _of(luminance: Table, chrominance: Table) -> int:
    return jpeg_quality({0: luminance.ravel().tolist(), 1: chrominance.ravel().tolist()}, color=True)


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {"subsampling": 0}),
        ("RGB", {"subsampling": 2}),
        ("RGB", {"progressive": True}),
        ("RGB", {"keep_rgb": True}),
        ("L", {}),
        ("CMYK", {}),
    ],
)
def test_every_quality_of_libjpeg_is_read_exactly(mode: str, options: dict[str, Any]) -> None:
    wanted = list(range(1, 101))
    assert [_picture(_jpeg(mode, quality=quality, **options)).jpeg_quality for quality in wanted] == wanted


@pytest.mark.parametrize("quality", [1, 5, 12, 24, 60])
def test_tables_that_are_not_cut_off_at_8_bits_are_read_exactly(quality: int) -> None:
    assert _of(*standard_tables(quality, largest=32767)) == quality


def test_a_gray_file_that_brings_tables_for_colour_counts_only_its_own() -> None:
    luminance, chrominance = standard_tables(80)[0], standard_tables(20)[1]
    assert jpeg_quality({0: luminance.ravel().tolist(), 1: chrominance.ravel().tolist()}, color=False) == 80


def test_other_encoders_tables_give_the_quality_of_equal_damage() -> None:
    """Tables by their makers' rules, with the quality at which standard tables do as much damage to photographs."""
    robidoux = np.array(
        [
            [16, 16, 16, 18, 25, 37, 56, 85],
            [16, 17, 20, 27, 34, 40, 53, 75],
            [16, 20, 24, 31, 43, 62, 91, 135],
            [18, 27, 31, 40, 53, 74, 106, 156],
            [25, 34, 43, 53, 69, 94, 131, 189],
            [37, 40, 62, 74, 94, 124, 169, 238],
            [56, 53, 91, 106, 131, 169, 226, 311],
            [85, 75, 135, 156, 189, 238, 311, 418],
        ]
    )
    for percent, equal in ((16, 92), (40, 80), (100, 48), (200, 23)):
        table = ((robidoux * percent + 50) // 100).clip(1, 255)
        assert _of(table, table) == pytest.approx(equal, abs=3)
    for step, equal in ((10, 89), (20, 72)):
        flat = np.full((8, 8), step)
        assert _of(flat, flat) == pytest.approx(equal, abs=4)


@pytest.mark.parametrize("seed", range(5))
def test_coarser_tables_never_give_a_better_quality(seed: int) -> None:
    rng = np.random.default_rng(seed)
    base = np.sort(rng.integers(1, 60, (2, 64)), axis=1).reshape(2, 8, 8)
    found = [_of(*(base * percent // 100).clip(1, 255)) for percent in range(5, 800, 5)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 90
    assert found[-1] < 40


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_turning_keeps_the_quality_and_the_header_tells_it_too(orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    data = _jpeg(quality=37, exif=exif)
    assert _picture(data).jpeg_quality == probe(io.BytesIO(data)).jpeg_quality == 37


def test_multi_picture_files_have_it() -> None:
    data = _jpeg(form="MPO", save_all=True, append_images=[Image.new("RGB", (40, 24))], quality=55)
    found = _picture(data)
    assert (found.format, found.jpeg_quality) == ("MPO", 55)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF", "GIF", "BMP"])
def test_other_formats_have_none(form: str) -> None:
    out = io.BytesIO()
    write_picture(_picture(_jpeg(quality=50)), out, form)
    found = read_picture(out)
    assert not isinstance(found, Animation)
    assert found.jpeg_quality is None
    assert probe(out).jpeg_quality is None


def test_jpeg_inside_tiff_has_none() -> None:
    assert _picture(_jpeg(form="TIFF", compression="jpeg", quality=50)).jpeg_quality is None


def test_a_picture_made_of_samples_has_none() -> None:
    before = _picture(_jpeg(quality=50))
    assert before.jpeg_quality == 50
    assert Picture(before.color[::2, ::2], before.alpha, before.icc_profile, before.exif).jpeg_quality is None
    assert dataclasses.replace(before, color=before.color[::2, ::2]).jpeg_quality is None
