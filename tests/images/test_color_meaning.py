"""What the numbers of a file mean as colours survives into every format, as a viewer with colour management sees it."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms, features

from mair_cli.images.color_encoding import ColorEncoding, from_code_points, from_png_chunks
from mair_cli.images.io import Picture, convert_depth, read_picture, write_picture

needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
OTHERS = ["JPEG", "WEBP", "TIFF", pytest.param("AVIF", marks=needs_avif)]


def _seen(data: io.BytesIO) -> npt.NDArray[np.float64]:
    """What a viewer shows on an sRGB screen: (H, W, 3)."""
    image = Image.open(data)
    profile = image.info.get("icc_profile")
    if profile is None:
        return np.asarray(image.convert("RGB"), float)
    assert (profile[16:20] == b"GRAY") == (image.mode == "L"), "a profile for another kind of colour"
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    shown = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    return np.asarray(shown, float)


def _written(picture: Picture, form: str) -> io.BytesIO:
    out = io.BytesIO()
    write_picture(picture, out, form, 100)
    return out


def _read(data: io.BytesIO) -> Picture:
    found = read_picture(data)
    assert isinstance(found, Picture)
    return found


def _ramp(gray: bool = True) -> npt.NDArray[np.uint8]:
    line = np.repeat(np.linspace(20, 235, 64), 1).astype(np.uint8)
    ramp = np.repeat(line[None], 32, axis=0)
    return ramp if gray else np.stack([ramp, ramp[:, ::-1], ramp // 2 + 60], axis=2)


LINEAR_GRAY = ColorEncoding(gamma=1.0).icc_profile(gray=True)
LINEAR_RGB = ColorEncoding(gamma=1.0).icc_profile(gray=False)


def _srgb(linear: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    share = linear / 255
    return np.where(share <= 0.0031308, 12.92 * share, 1.055 * share ** (1 / 2.4) - 0.055) * 255


@pytest.mark.parametrize("form", OTHERS)
def test_a_gray_profile_never_lies_on_colour_and_gray_looks_the_same(form: str) -> None:
    seen = _seen(_written(Picture(_ramp(), icc_profile=LINEAR_GRAY), form))
    assert abs(seen - _srgb(_ramp())[:, :, None]).max() < 4


@pytest.mark.parametrize("form", OTHERS)
def test_a_spread_gray_picture_with_a_gray_profile_looks_the_same(form: str) -> None:
    """As side-by-side pictures are made."""
    spread = np.repeat(_ramp()[:, :, None], 3, axis=2)
    seen = _seen(_written(Picture(spread, icc_profile=LINEAR_GRAY), form))
    assert abs(seen - _srgb(_ramp())[:, :, None]).max() < 4


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_gray_samples_with_a_profile_for_rgb_are_converted_on_reading(dtype: str) -> None:
    color = convert_depth(_ramp(), dtype)
    out = io.BytesIO()
    Image.fromarray(color).save(out, "TIFF", icc_profile=LINEAR_RGB)
    found = _read(out)
    assert found.gray
    assert found.icc_profile is None
    scale = {"uint8": 1, "uint16": 257, "float32": 1 / 255}[dtype]
    assert abs(found.color / scale - _srgb(_ramp())).max() < 1.6
    assert found.color.dtype == dtype


def test_equal_channels_with_a_gray_profile_are_read_as_gray() -> None:
    out = io.BytesIO()
    Image.fromarray(np.repeat(_ramp()[:, :, None], 3, axis=2)).save(out, "PNG", icc_profile=LINEAR_GRAY)
    found = _read(out)
    assert found.gray
    assert found.icc_profile == LINEAR_GRAY


def test_coloured_samples_lose_a_gray_profile_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    out = io.BytesIO()
    Image.fromarray(_ramp(gray=False)).save(out, "JPEG", icc_profile=LINEAR_GRAY)
    found = _read(out)
    assert not found.gray
    assert found.icc_profile is None
    assert "not one for its kind of colour" in caplog.text


@pytest.mark.parametrize("form", OTHERS)
@pytest.mark.parametrize("gray", [False, True])
def test_the_gamma_of_a_png_file_is_carried_over(form: str, gray: bool) -> None:
    picture = Picture(_ramp(gray), png_color=((b"gAMA", struct.pack(">L", 100_000)),))
    expected = _srgb(_ramp(gray))
    expected = expected[:, :, None] if gray else expected
    assert abs(_seen(_written(picture, form)) - expected).mean() < 2.5
    assert _read(_written(picture, "PNG")).png_color == picture.png_color


@pytest.mark.parametrize(
    "chunks",
    [
        {b"gAMA": struct.pack(">L", 45455)},
        {b"gAMA": struct.pack(">L", 100_000), b"sRGB": b"\0"},
        {b"cICP": bytes([1, 13, 0, 1]), b"gAMA": struct.pack(">L", 100_000)},
        {b"cHRM": struct.pack(">8L", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)},
        {b"cHRM": bytes(32)},
        {b"gAMA": bytes(4)},
        {},
    ],
)
def test_png_chunks_that_mean_srgb_or_nothing_make_no_profile(chunks: dict[bytes, bytes]) -> None:
    encoding = from_png_chunks(chunks)
    assert encoding is not None
    assert encoding.is_srgb
    assert _read(_written(Picture(_ramp(False), png_color=tuple(chunks.items())), "TIFF")).icc_profile is None


def test_profiles_made_of_code_points_mean_the_colours_that_h273_says() -> None:
    """Display P3's red in sRGB, of which the red is more than there is; a middle colour by the published matrices."""
    encoding = from_code_points(12, 13)
    assert encoding is not None
    image = Image.new("RGB", (1, 1), (120, 160, 90))
    profile = ImageCms.ImageCmsProfile(io.BytesIO(encoding.icc_profile(gray=False)))
    shown = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"))
    assert shown is not None
    p3_to_srgb = np.array(
        [[1.2249401, -0.2249402, 0.0], [-0.0420569, 1.0420571, 0.0], [-0.0196376, -0.0786361, 1.0982735]]
    )
    share = np.array([120, 160, 90]) / 255
    linear = p3_to_srgb @ np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clip(0) ** (1 / 2.4) - 0.055) * 255
    np.testing.assert_allclose(np.asarray(shown)[0, 0], expected, atol=1.5)


@pytest.mark.parametrize(("primaries", "transfer"), [(9, 16), (9, 18), (3, 13), (1, 3), (255, 255)])
def test_code_points_that_no_simple_profile_can_say_make_none(primaries: int, transfer: int) -> None:
    assert from_code_points(primaries, transfer) is None


def test_high_dynamic_range_is_not_lost_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    _written(Picture(_ramp(False), png_color=((b"cICP", bytes([9, 16, 0, 1])),)), "JPEG")
    assert "cICP" in caplog.text


@needs_avif
@pytest.mark.parametrize(("transfer", "kept"), [(13, True), (16, False)])
def test_the_code_points_of_avif_become_a_profile_or_a_warning(
    transfer: int, kept: bool, caplog: pytest.LogCaptureFixture
) -> None:
    data = _written(Picture(_ramp(False)), "AVIF").getvalue()
    at = data.index(b"colrnclx") + 8
    found = _read(io.BytesIO(data[:at] + struct.pack(">HH", 12, transfer) + data[at + 4 :]))
    assert (found.icc_profile is not None) is kept
    assert ("lost" in caplog.text) is not kept


def test_the_profile_of_jpeg_2000_is_found() -> None:
    out = io.BytesIO()
    write_picture(Picture(_ramp(False)), out, "JPEG2000")
    data = out.getvalue()
    at = data.index(b"colr") - 4
    length = int.from_bytes(data[at : at + 4], "big")
    box = b"colr\x02\0\0" + LINEAR_RGB
    box = struct.pack(">L", len(box) + 4) + box
    header = data.index(b"jp2h") - 4
    size = int.from_bytes(data[header : header + 4], "big") - length + len(box)
    data = data[:header] + struct.pack(">L", size) + data[header + 4 : at] + box + data[at + length :]
    found = _read(io.BytesIO(data))
    assert found.icc_profile == LINEAR_RGB
    np.testing.assert_array_equal(found.color, _ramp(False))


@pytest.mark.parametrize("form", OTHERS)
def test_the_brightness_of_the_file_with_gamma_one_stays(corpus: Path, form: str) -> None:
    picture = read_picture(corpus / "faults" / "gama1.png")
    assert isinstance(picture, Picture)
    assert _seen(_written(picture, form)).mean() == pytest.approx(185, abs=2)


@needs_avif
def test_the_display_p3_file_says_so(corpus: Path) -> None:
    picture = read_picture(corpus / "faults" / "p3.avif")
    assert isinstance(picture, Picture)
    encoding = from_code_points(12, 13)
    assert encoding is not None
    assert picture.icc_profile == encoding.icc_profile(gray=False)


@pytest.mark.parametrize("form", ["WEBP", pytest.param("AVIF", marks=needs_avif)])
def test_the_gray_photograph_with_a_gray_profile_keeps_its_look(corpus: Path, form: str) -> None:
    path = corpus / "faults" / "gray_grayicc.jpg"
    picture = read_picture(path)
    assert isinstance(picture, Picture)
    before = _seen(io.BytesIO(path.read_bytes()))
    assert abs(_seen(_written(picture, form)) - before).mean() < 2
