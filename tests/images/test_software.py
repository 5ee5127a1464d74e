"""The program that made a picture stands in its file, beside what the user's other programs wrote there."""

from __future__ import annotations

import io
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, features

from mair_cli.images.exif import orientation_of
from mair_cli.images.io import Picture, probe, read_picture, write_picture
from mair_cli.images.metadata import Metadata
from mair_cli.images.software import software_of_exif, with_software

TOLD = "mair-cli 0.1.0, sr"
FORMS = [form for form in ("PNG", "JPEG", "WEBP", "TIFF", "AVIF") if form != "AVIF" or features.check("avif")]


def _camera(order: str) -> bytes:
    """EXIF data with a maker note that names its own place by an absolute number."""
    exif = Image.Exif()
    exif[274], exif[271], exif[305] = 6, "maker", "firmware 1.0"
    exif.get_ifd(0x8769)[0x927C] = b"notes of the maker"
    exif.endian = order
    return exif.tobytes().removeprefix(b"Exif\0\0")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("exif", [None, _camera("<"), _camera(">")])
def test_every_format_with_room_for_it_tells_what_made_the_picture(form: str, dtype: str, exif: bytes | None) -> None:
    color: np.ndarray = np.random.default_rng(0).integers(0, 255, (16, 24, 3)).astype(dtype)
    out = io.BytesIO()
    write_picture(Picture(color, exif=exif, metadata=Metadata(texts=(("Software", "mine"),), software=TOLD)), out, form)
    assert probe(out).software == TOLD
    if form == "TIFF" and dtype == "uint16":
        return  # reading the pixels needs an extra
    found = read_picture(out)
    assert isinstance(found, Picture)
    if form == "PNG":
        assert (found.metadata.software, found.metadata.texts) == (TOLD, (("Software", "mine"),))
    if exif is not None:
        kept = Image.Exif()
        kept.load(found.exif or b"")
        assert (kept[271], kept[305]) == ("maker", "firmware 1.0")
        assert kept.get_ifd(0x8769)[0x927C] == b"notes of the maker"


@pytest.mark.parametrize("order", ["<", ">"])
def test_nothing_moves_in_exif_data_that_get_it_and_a_later_program_replaces_it(order: str) -> None:
    exif = _camera(order)
    once = with_software(exif, TOLD)
    twice = with_software(once, "mair-cli 9, denoise")
    for told, text in ((once, TOLD), (twice, "mair-cli 9, denoise")):
        assert told[8 : len(exif)] == exif[8:]
        assert software_of_exif(told) == text
        assert orientation_of(told) == 6
    assert software_of_exif(exif) is None


@pytest.mark.parametrize("exif", [b"", b"II*\0", b"MM\0*" + struct.pack(">L", 9), b"rubbish" * 9])
def test_exif_data_without_sense_stay_as_they_are(exif: bytes) -> None:
    assert with_software(exif, TOLD) in (exif, with_software(None, TOLD))
    assert software_of_exif(exif) is None


def test_exif_data_that_fill_a_jpeg_segment_are_not_lost_for_it() -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 65_450
    full = exif.tobytes().removeprefix(b"Exif\0\0")
    out = io.BytesIO()
    write_picture(
        Picture(np.zeros((8, 8, 3), np.uint8), exif=full, metadata=replace(Metadata(), software=TOLD)), out, "JPEG"
    )
    found = read_picture(out)
    assert isinstance(found, Picture)
    assert found.exif == full
