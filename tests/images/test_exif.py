"""EXIF data are read as cameras and careless programs write them, and edited in place."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mair_cli.images.exif import orientation_of, reset_orientation
from mair_cli.images.io import Picture, read_picture, write_picture

MAKER = b"a maker of cameras\0"
FORMS = ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"]


def _exif(order: str, orientations: tuple[int, ...] = (6,), extra: int = 0, short: bool = False) -> bytes:
    """EXIF data of one directory: orientations, and a maker whose name stands before it."""
    start = 8 + len(MAKER) + 1
    entries = [struct.pack(f"{order}HHLHH", 274, 3, 1, value, 0) for value in orientations]
    entries.insert(0, struct.pack(f"{order}HHLL", 271, 2, len(MAKER), 8))
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HL", 42, start)
    directory = struct.pack(f"{order}H", len(entries) + extra) + b"".join(entries)
    return head + MAKER + b"\0" + directory + (b"" if short else bytes(4))


def _jpeg(exif: bytes) -> io.BytesIO:
    out = io.BytesIO()
    Image.fromarray(np.zeros((24, 40, 3), np.uint8)).save(out, "JPEG", exif=b"Exif\0\0" + exif)
    return out


def _maker_and_orientations(exif: bytes) -> tuple[object, list[int]]:
    parsed = Image.Exif()
    parsed.load(exif)
    order = "<" if exif[:2] == b"II" else ">"
    start = struct.unpack_from(f"{order}L", exif, 4)[0]
    count = struct.unpack_from(f"{order}H", exif, start)[0]
    entries = [struct.unpack_from(f"{order}HHLH", exif, start + 2 + 12 * index) for index in range(count)]
    return parsed.get(271), [value for tag, _, _, value in entries if tag == 274]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("extra", [0, 1, 7, 60000])
@pytest.mark.parametrize("short", [False, True])
def test_directories_without_end_or_with_too_high_a_count_keep_what_they_tell(
    order: str, extra: int, short: bool
) -> None:
    exif = _exif(order, extra=extra, short=short)
    assert orientation_of(exif) == 6
    picture = read_picture(_jpeg(exif))
    assert isinstance(picture, Picture)
    assert (picture.width, picture.height) == (24, 40)
    assert picture.exif is not None
    assert _maker_and_orientations(picture.exif) == ("a maker of cameras", [1])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("extra", [0, 9])
def test_mended_data_can_be_written_to_every_format(form: str, extra: int) -> None:
    picture = read_picture(_jpeg(_exif("<", extra=extra, short=True)))
    out = io.BytesIO()
    write_picture(picture, out, form)
    found = read_picture(out)
    assert isinstance(found, Picture)
    assert (found.width, found.height) == (24, 40)
    assert found.exif is not None
    assert _maker_and_orientations(found.exif)[0] == "a maker of cameras"


@pytest.mark.parametrize("order", ["<", ">"])
def test_of_two_orientations_the_first_counts_and_both_are_reset(order: str) -> None:
    exif = _exif(order, orientations=(6, 3))
    assert orientation_of(exif) == 6
    reset = reset_orientation(exif)
    assert reset is not None
    assert _maker_and_orientations(reset) == ("a maker of cameras", [1, 1])


def test_the_link_to_a_preview_is_cut_and_nothing_else_changes() -> None:
    whole = _exif("<")[:-4] + struct.pack("<L", 77) + b"notes behind the directory"
    reset = reset_orientation(whole)
    assert reset is not None
    assert [at for at in range(len(whole)) if whole[at] != reset[at]] == [
        8 + len(MAKER) + 1 + 2 + 12 + 8,
        len(whole) - 30,
    ]


@pytest.mark.parametrize("exif", [b"", b"II*\0", b"II*\0\xff\0\0\0", b"PK\3\4" + bytes(40), _exif("<")[:28]])
def test_what_is_no_exif_tells_nothing(exif: bytes) -> None:
    assert orientation_of(exif) == 1
    assert reset_orientation(exif) is None


def test_the_photograph_whose_directory_lacks_its_end_stands_upright(corpus: Path) -> None:
    picture = read_picture(corpus / "faults" / "ori_notail.jpg")
    assert isinstance(picture, Picture)
    assert (picture.width * 4, picture.height * 4) == (192, 256)
