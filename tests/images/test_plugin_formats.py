"""HEIC and JPEG XL: what is kept of a picture, bounds before decoding, and the way out without the plug-ins."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mair_cli.errors import ImageError, UsageError
from mair_cli.images import read as reading
from mair_cli.images.io import Picture, default_format, probe, read_picture, write_picture
from mair_cli.images.jxl_header import read_jxl_header

pillow_heif = pytest.importorskip("pillow_heif")
pytest.importorskip("pillow_jxl")

RNG = np.random.default_rng(3)
COLOR = np.kron(RNG.integers(0, 255, (5, 7, 3)), np.ones((8, 8, 1))).astype(np.uint8)


def _exif(orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[274], exif[271] = orientation, "maker"
    return exif.tobytes()[6:]


def _written(picture: Picture, form: str, quality: int | None = None) -> io.BytesIO:
    stream = io.BytesIO()
    write_picture(picture, stream, form, quality)
    return stream


def _still(stream: io.BytesIO) -> Picture:
    found = read_picture(stream)
    assert isinstance(found, Picture)
    return found


@pytest.mark.parametrize("form", ["heic", "jxl"])
@pytest.mark.parametrize(("gray", "alpha"), [(False, False), (False, True), (True, False)])
def test_colour_gray_alpha_and_exif_come_back(form: str, gray: bool, alpha: bool) -> None:
    color = COLOR[:, :, 0] if gray else COLOR
    found = _still(_written(Picture(color, COLOR[:, :, 1] if alpha else None, exif=_exif()), form))
    assert found.color.shape == color.shape
    assert (found.alpha is not None) == alpha
    assert np.abs(found.color.astype(int) - color).mean() < 2
    assert found.exif is not None
    assert b"maker" in found.exif


def test_jpeg_xl_of_a_lossless_picture_is_lossless_and_has_no_profile_that_nobody_gave() -> None:
    found = _still(_written(Picture(COLOR), "jxl"))
    np.testing.assert_array_equal(found.color, COLOR)
    assert found.lossless
    assert found.icc_profile is None
    assert not _still(_written(Picture(COLOR), "jxl", 80)).lossless


def test_heic_keeps_its_profile_and_stays_heic() -> None:
    profile = bytes(12) + b"mntrRGB " + bytes(180)
    pictured = Image.fromarray(COLOR)
    stream = io.BytesIO()
    pillow_heif.register_heif_opener()
    pictured.save(stream, "HEIF", icc_profile=profile, quality=90)
    image = Image.open(stream)
    assert image.info["icc_profile"] == profile
    assert default_format("HEIF", lossless=False) == "HEIF"
    assert default_format("HEIF", lossless=False, dtype="uint16") == "PNG"


def test_a_turned_heic_is_turned_once() -> None:
    stream = io.BytesIO()
    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(COLOR).save(stream, "HEIF", exif=exif.tobytes(), quality=95)
    found = _still(stream)
    assert found.color.shape == (COLOR.shape[1], COLOR.shape[0], 3)
    assert np.abs(found.color.astype(int) - np.rot90(COLOR, -1)).mean() < 3


@pytest.mark.parametrize("bits", [10, 12])
def test_deep_jpeg_xl_keeps_its_bits(bits: int) -> None:
    codecs = pytest.importorskip("imagecodecs")
    samples = (COLOR.astype(np.uint16) * 257) >> (16 - bits)
    found = _still(io.BytesIO(codecs.jpegxl_encode(samples, lossless=True, bitspersample=bits)))
    assert found.color.dtype == np.uint16
    np.testing.assert_array_equal(found.color >> (16 - bits), samples)


def test_deep_heic_keeps_more_than_8_bits() -> None:
    samples = np.tile(np.linspace(0, 65535, 512).astype(np.uint16)[None, :, None], (16, 1, 3))
    stream = io.BytesIO()
    pillow_heif.from_bytes("RGB;16", (512, 16), samples.tobytes()).save(stream, quality=-1)
    found = _still(stream)
    assert found.color.dtype == np.uint16
    assert np.unique(found.color).size > 300
    assert np.abs(found.color.astype(int) - samples).max() < 400


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_deep_pictures_become_heic_of_10_bits_that_keeps_all_else(
    channels: int, caplog: pytest.LogCaptureFixture
) -> None:
    ramp = np.tile(np.linspace(0, 65535, 512).astype(np.uint16), (16, 1))
    profile = bytes(16) + (b"RGB " if channels > 2 else b"GRAY") + bytes(180)
    picture = Picture(
        ramp if channels < 3 else np.stack([ramp] * 3, axis=2), ramp[:, ::-1] if channels in (2, 4) else None,
        icc_profile=profile, exif=_exif(),
    )  # fmt: skip
    found = _still(_written(picture, "heic", 100))
    assert found.color.dtype == np.uint16
    assert found.color.shape == picture.color.shape
    assert np.unique(found.color).size > 300
    assert np.abs(found.color.astype(int) - picture.color).max() < 400
    assert (found.alpha is None) == (picture.alpha is None)
    if found.alpha is not None and picture.alpha is not None:
        assert np.abs(found.alpha.astype(int) - picture.alpha).max() < 400
    assert found.icc_profile == profile
    assert found.exif is not None
    assert b"maker" in found.exif
    assert "rounded to 10 bits" in caplog.text


@pytest.mark.parametrize("form", ["heic", "jxl"])
def test_sizes_are_bounded_before_anything_is_decoded(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = _written(Picture(COLOR), form)

    def _never(*_: Any) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(reading, "_load", _never)
    if form == "jxl":
        monkeypatch.setattr("pillow_jxl.JpegXLImagePlugin.Decoder", _never)
    with pytest.raises(ImageError, match="limit"):
        read_picture(stream, max_output_pixels=100)


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (300, 200), (1600, 900), (257, 64), (40, 30), (2000, 3)])
def test_sizes_of_jpeg_xl_are_read_without_its_library(size: tuple[int, int]) -> None:
    for quality in (None, 80):
        header = read_jxl_header(_written(Picture(np.zeros((size[1], size[0], 3), np.uint8)), "jxl", quality))
        assert (header.width, header.height, header.bits) == (*size, 8)
        assert header.lossless == (quality is None)


@pytest.mark.parametrize("form", ["heic", "jxl"])
def test_without_the_plug_in_the_way_out_is_named(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = _written(Picture(COLOR), form)
    way = re.escape('pip install "mair-cli[formats]"')
    monkeypatch.setattr("mair_cli.images.formats.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImageError, match=way):
        probe(stream)
    with pytest.raises(UsageError, match=way):
        write_picture(Picture(COLOR), io.BytesIO(), form)
