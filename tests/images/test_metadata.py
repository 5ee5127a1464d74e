"""Resolution, XMP, IPTC, comments and texts arrive in the result, or the loss is said."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, IptcImagePlugin, features

from mair_cli.images.formats import WRITERS
from mair_cli.images.io import Animation, Picture, read_picture, write_picture
from mair_cli.images.metadata import Metadata, read_metadata

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" dc:title="t"/></x:xmpmeta>'
UPRIGHT_XMP = XMP.replace(b'"6"', b'"1"')
IPTC = b"\x1c\x02\x78\x00\x09a caption" + b"\x1c\x02\x05\x00\x01t"
FULL = Metadata((300.0, 150.0), UPRIGHT_XMP, IPTC, (("Comment", "a comment"), ("Title", "Größe ☃")))
LOST = {"resolution": "dpi", "XMP": "xmp", "IPTC": "iptc", "texts": "texts"}
FORMS = [form for form in WRITERS if WRITERS[form].feature is None or features.check(str(WRITERS[form].feature))]


def _picture(dtype: str = "uint8") -> Picture:
    color = np.random.default_rng(0).integers(0, 255, (16, 24, 3)).astype(dtype)
    return Picture(color, metadata=FULL)


def _again(picture: Picture, form: str) -> tuple[Picture, io.BytesIO]:
    out = io.BytesIO()
    write_picture(picture, out, form)
    found = read_picture(out)
    assert isinstance(found, Picture)
    return found, out


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_what_a_format_holds_is_kept_and_the_rest_is_said_to_be_lost(
    form: str, dtype: str, caplog: pytest.LogCaptureFixture
) -> None:
    if form == "TIFF" and dtype == "uint16":
        pytest.importorskip("tifffile")
    found, held = _again(_picture(dtype), form)[0].metadata, WRITERS[form].metadata
    assert found.xmp == (UPRIGHT_XMP if "xmp" in held else None)
    assert found.iptc == (IPTC if "iptc" in held else None)
    comment = (("Comment", "a comment"),)
    assert found.texts == (FULL.texts if "texts" in held else comment if "comment" in held else ())
    if form in ("PNG", "JPEG", "BMP"):
        assert found.dpi == pytest.approx((300, 150), abs=0.02)
    for word, what in LOST.items():
        said = [line for line in caplog.messages if "cannot hold its" in line and word in line]
        assert bool(said) is (what not in held), word


def test_the_resolution_of_tiff_is_kept_as_a_tag() -> None:
    _, out = _again(_picture(), "TIFF")
    with Image.open(out) as image:
        assert image.info["dpi"] == (300, 150)


def test_other_programs_find_iptc_and_comment_in_our_jpeg() -> None:
    _, out = _again(_picture(), "JPEG")
    with Image.open(out) as image:
        assert image.info["comment"] == b"a comment"
        records = IptcImagePlugin.getiptcinfo(image)
    assert records is not None
    assert records[(2, 120)] == b"a caption"


def test_the_orientation_in_xmp_is_reset_as_that_in_exif_is() -> None:
    for text in (b'tiff:Orientation="8"', b"<tiff:Orientation>8</tiff:Orientation>", b"tiff:Orientation = '8'"):
        reset = Metadata(xmp=b"a 8 " + text + b" b").upright().xmp
        assert reset == b"a 8 " + text.replace(b"8", b"1") + b" b"


@pytest.mark.parametrize("unit", [0, 1, 2])
def test_a_ratio_of_pixels_is_no_resolution(unit: int) -> None:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "JPEG", dpi=(118, 118))
    data = bytearray(out.getvalue())
    data[data.index(b"JFIF\0") + 7] = unit
    with Image.open(io.BytesIO(bytes(data))) as image:
        dpi = read_metadata(image).dpi
    assert dpi == {0: None, 1: (118, 118), 2: pytest.approx((118 * 2.54,) * 2)}[unit]


def test_metadata_too_long_for_jpeg_are_said_to_be_lost(caplog: pytest.LogCaptureFixture) -> None:
    long = Metadata(xmp=b"x" * 70_000, iptc=b"i" * 70_000, texts=(("Comment", "c" * 70_000),))
    found, _ = _again(Picture(_picture().color, metadata=long), "JPEG")
    assert found.metadata == Metadata()
    assert "XMP and IPTC and texts" in caplog.text


def test_a_usual_resolution_is_lost_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    _again(Picture(_picture().color, metadata=Metadata(dpi=(72, 72))), "WEBP")
    assert caplog.messages == []


@pytest.mark.parametrize("form", ["GIF", "PNG"])
def test_animations_keep_a_comment_and_their_frames(form: str) -> None:
    frames = [Picture(np.full((8, 8), level, np.uint8), metadata=FULL) for level in (0, 90, 200)]
    out = io.BytesIO()
    write_picture(Animation(frames, [10, 20, 30]), out, form)
    found = read_picture(out)
    assert isinstance(found, Animation)
    assert [int(frame.color.flat[0]) for frame in found.frames] == [0, 90, 200]
    assert {frame.metadata.comment for frame in found.frames} == {"a comment"}


@pytest.mark.parametrize(("name", "form"), [("meta.jpg", "JPEG"), ("meta.jpg", "TIFF"), ("dpi300.png", "PNG")])
def test_the_files_that_lost_theirs_keep_them(corpus: Path, name: str, form: str) -> None:
    before = read_picture(corpus / "faults" / name)
    assert isinstance(before, Picture)
    assert before.metadata != Metadata()
    after = _again(before, form)[0].metadata
    assert (after.xmp, after.iptc) == (before.metadata.xmp, before.metadata.iptc)
    if name == "meta.jpg":
        assert before.metadata.comment == "a comment"
        assert before.metadata.xmp is not None
        assert before.metadata.iptc is not None
    else:
        assert after.dpi == pytest.approx((300, 300), abs=0.01)


def test_pages_of_tiff_keep_their_own() -> None:
    first, _ = _again(Picture(_picture().color, metadata=Metadata(xmp=XMP)), "TIFF")
    assert first.metadata.xmp == UPRIGHT_XMP
    assert (first.width, first.height) == (24, 16), "turned by a copy of an orientation that the tags do not tell"
