"""What is written is what was meant, in every format; and no half-written file is ever seen."""

from __future__ import annotations

import errno
import io
import os
import stat
import threading
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from mair_cli.errors import ImageError, UsageError
from mair_cli.images.io import (
    FORMATS,
    WRITERS,
    Animation,
    Picture,
    convert_depth,
    default_format,
    extension_for,
    read_picture,
    read_rgb8,
    writable_format,
    write_picture,
)

EXACT = ("PNG", "TIFF", "BMP", "PPM", "TGA", "JPEG2000")
LOSSY = ("JPEG", "WEBP", "AVIF")


def _samples(dtype: str, *shape: int) -> np.ndarray:
    values = np.random.default_rng(len(shape)).random(shape)
    return convert_depth(values.astype(np.float32), dtype)


def _picture(
    dtype: str = "uint8", gray: bool = False, alpha: bool = False, height: int = 11, width: int = 14
) -> Picture:
    shape = (height, width) if gray else (height, width, 3)
    return Picture(_samples(dtype, *shape), _samples(dtype, height, width) if alpha else None)


def _smooth(gray: bool = False, alpha: bool = False) -> Picture:
    y, x = np.mgrid[0:32, 0:40]
    color = np.stack([3 * x + 60, 4 * y + 40, 2 * x + 2 * y + 30], axis=2).astype(np.uint8)
    return Picture(color[:, :, 0] if gray else color, (100 + 3 * y).astype(np.uint8) if alpha else None, lossless=False)


def _again(picture: Picture | Animation, form: str, quality: int | None = None) -> Picture:
    out = io.BytesIO()
    write_picture(picture, out, form, quality)
    found = read_picture(out)
    assert isinstance(found, Picture)
    assert found.format == form
    return found


def _rotated_exif(orientation: int = 6) -> bytes:
    exif = Image.Exif()
    exif[274], exif[271], exif[305] = orientation, "maker", "software"
    exif.get_ifd(0x8769).update({0xA002: 40, 0xA003: 50, 0x927C: b"notes of the maker", 0x9003: "2020:01:01 00:00:00"})
    return exif.tobytes()[6:]


@pytest.mark.parametrize("form", EXACT)
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_lossless_formats_return_every_sample_in_the_depth_they_hold(form: str, gray: bool, dtype: str) -> None:
    if form == "TIFF" and dtype != "uint8" and not gray:
        pytest.importorskip("tifffile")
    picture = _picture(dtype, gray)
    found = _again(picture, form)
    held = dtype if dtype in WRITERS[form].dtypes else WRITERS[form].dtypes[-1]
    assert found.color.dtype == held
    np.testing.assert_array_equal(found.color, convert_depth(picture.color, held))
    assert found.alpha is None


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_alpha_is_returned_with_every_sample(form: str, gray: bool, dtype: str) -> None:
    if form == "TIFF" and dtype == "uint16":
        pytest.importorskip("tifffile")
    picture = _picture(dtype, gray, alpha=True)
    found = _again(picture, form)
    np.testing.assert_array_equal(found.color, picture.color)
    np.testing.assert_array_equal(found.alpha, picture.alpha)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
@pytest.mark.parametrize("size", [(1, 1), (1, 70), (300, 1), (7, 5), (700, 333)])
def test_deep_pictures_of_all_sizes_survive(form: str, size: tuple[int, int]) -> None:
    if form == "TIFF":
        pytest.importorskip("tifffile")
    picture = _picture("uint16", height=size[0], width=size[1])
    np.testing.assert_array_equal(_again(picture, form).color, picture.color)


def test_deep_files_of_ours_are_understood_by_other_decoders(tmp_path: Path) -> None:
    imagecodecs, tifffile = pytest.importorskip("imagecodecs"), pytest.importorskip("tifffile")
    picture = _picture("uint16", alpha=True, height=400, width=300)
    both = np.concatenate([picture.color, np.asarray(picture.alpha)[:, :, None]], axis=2)
    write_picture(picture, tmp_path / "a.png", "png")
    np.testing.assert_array_equal(imagecodecs.png_decode((tmp_path / "a.png").read_bytes()), both)
    write_picture(picture, tmp_path / "a.tif", "tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), both)
    np.testing.assert_array_equal(imagecodecs.tiff_decode((tmp_path / "a.tif").read_bytes()), both)
    with Image.open(tmp_path / "a.png") as image:  # and by Pillow, in its 8 bits
        assert abs(np.asarray(image, np.int32) - both // 257).max() <= 1


@pytest.mark.parametrize("form", [form for form in LOSSY if form != "AVIF" or features.check("avif")])
@pytest.mark.parametrize("gray", [False, True])
def test_lossy_formats_are_close_at_their_default_quality(form: str, gray: bool) -> None:
    picture = _smooth(gray, alpha=form != "JPEG")
    found = _again(picture, form)
    color = found.color if found.gray == gray else found.color[:, :, 0]
    assert abs(color.astype(int) - picture.color).mean() < 2
    if picture.alpha is not None:
        assert found.alpha is not None
        assert abs(found.alpha.astype(int) - picture.alpha).mean() < 2


def test_jpeg_keeps_gray_and_the_full_resolution_of_colour() -> None:
    assert _again(_smooth(gray=True), "JPEG").gray
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = (255, 0, 0)
    stripes[:, 1::2] = (0, 0, 255)
    assert abs(_again(Picture(stripes), "JPEG").color.astype(int) - stripes).mean() < 6


@pytest.mark.parametrize("form", WRITERS)
def test_pictures_that_hardly_compress_are_written(form: str) -> None:
    """Encoders that guess how large a file becomes fail on noise."""
    noise = _picture(height=500, width=600)
    exif = Image.Exif()
    exif[0x010E] = "x" * 60_000
    noise.exif = exif.tobytes()[6:]
    found = _again(noise, form, 100)
    assert (found.width, found.height) == (600, 500)


def test_webp_is_lossless_for_lossless_pictures_and_at_quality_100() -> None:
    picture = _picture(alpha=True)
    for found in (_again(picture, "WEBP"), _again(_smooth(), "WEBP", 100)):
        assert found.lossless
    np.testing.assert_array_equal(_again(picture, "WEBP").color, picture.color)
    assert not _again(_smooth(), "WEBP").lossless


def test_quality_changes_the_size() -> None:
    for form in ("JPEG", "WEBP", "AVIF", "JPEG2000"):
        sizes = []
        for quality in (30, 90):
            out = io.BytesIO()
            write_picture(_picture(height=64, width=64), out, form, quality)
            sizes.append(len(out.getvalue()))
        assert sizes[0] < sizes[1], form


@pytest.mark.parametrize("form", ["JPEG", "PPM", "BMP"])
def test_transparency_is_laid_on_white_with_a_warning(form: str, caplog: pytest.LogCaptureFixture) -> None:
    color = np.full((16, 16, 3), 100, np.uint8)
    alpha = np.zeros((16, 16), np.uint8)
    alpha[:, 8:] = 255
    found = _again(Picture(color, alpha), form)
    assert abs(found.color[:, :7].astype(int) - 255).max() <= 3
    assert abs(found.color[:, 9:].astype(int) - 100).max() <= 3
    assert "transparency" in caplog.text


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_profile_and_exif_are_kept_with_the_orientation_reset(form: str, dtype: str) -> None:
    if form == "TIFF" and dtype == "uint16":
        pytest.importorskip("tifffile")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    turned = Picture(_samples(dtype, 40, 50, 3), icc_profile=profile, exif=_rotated_exif())
    stored = io.BytesIO()
    write_picture(turned, stored, form)
    found = read_picture(stored)
    assert isinstance(found, Picture)
    assert found.icc_profile == profile
    exif = Image.Exif()
    assert found.exif is not None
    exif.load(found.exif)
    assert (exif.get(274, 1), exif[271], exif[305]) == (1, "maker", "software")
    inner = exif.get_ifd(0x8769)
    assert inner[0x927C] == b"notes of the maker"
    assert (inner[0xA002], inner[0xA003]) == (found.width, found.height)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_each_orientation_is_applied_once(orientation: int, form: str, tmp_path: Path) -> None:
    stored = _samples("uint8", 5, 9, 3)
    exif = Image.Exif()
    exif[274] = orientation
    options = {"lossless": True} if form == "WEBP" else {}
    path = tmp_path / "turned"
    Image.fromarray(stored).save(path, form, exif=exif, **options)
    turns = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM}
    turns |= {5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE}
    turns |= {8: Image.Transpose.ROTATE_90}
    expected = Image.fromarray(stored)
    expected = expected.transpose(turns[orientation]) if orientation > 1 else expected
    once = read_picture(path)
    assert isinstance(once, Picture)
    np.testing.assert_array_equal(once.color, np.asarray(expected))
    np.testing.assert_array_equal(_again(once, form).color, once.color)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_orientation_of_deep_tiff_is_applied_once(orientation: int, tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    pytest.importorskip("imagecodecs")
    stored = _samples("uint16", 5, 9, 3)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    found = read_picture(tmp_path / "a.tif")
    assert isinstance(found, Picture)
    expected = {1: stored, 3: stored[::-1, ::-1], 6: np.rot90(stored, -1)}[orientation]
    np.testing.assert_array_equal(found.color, expected)


def test_white_is_zero_and_planes_and_premultiplied_alpha_are_undone(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    pytest.importorskip("imagecodecs")
    path = tmp_path / "a.tif"
    gray, color = _samples("uint16", 6, 8), _samples("uint16", 6, 8, 3)
    tifffile.imwrite(path, gray, photometric="miniswhite")
    np.testing.assert_array_equal(_color(path), 65535 - gray)
    tifffile.imwrite(path, np.moveaxis(color, 2, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(_color(path), color)
    whole = np.concatenate([color // 2, np.full((6, 8, 1), 32768, np.uint16)], axis=2)
    tifffile.imwrite(path, whole, photometric="rgb", extrasamples=["assocalpha"])
    assert abs(_color(path).astype(int) - color).max() <= 2
    tifffile.imwrite(path, color >> 4, photometric="rgb", bitspersample=12)
    assert abs(_color(path).astype(int) - color).max() <= 16


def _color(path: Path) -> np.ndarray:
    picture = read_picture(path)
    assert isinstance(picture, Picture)
    return picture.color


@pytest.mark.parametrize("form", ["TIFF", "PPM", "AVIF", "JPEG2000"])
def test_deep_colour_is_never_read_as_8_bits(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra it has 16 bits, without it the way to get it is named."""
    imagecodecs = pytest.importorskip("imagecodecs")
    color, path = _samples("uint16", 16, 16, 3), tmp_path / "deep"
    if form in ("TIFF", "PPM"):
        write_picture(Picture(color), path, form)
    elif form == "AVIF":
        path.write_bytes(imagecodecs.avif_encode(color >> 6, bitspersample=10, level=100))
    else:
        path.write_bytes(imagecodecs.jpeg2k_encode(color, level=0, reversible=True))
    found = _color(path)
    assert found.dtype == np.uint16
    assert abs(found.astype(int) - color).mean() < (3000 if form == "AVIF" else 1)
    if form != "PPM":
        import sys

        monkeypatch.setitem(sys.modules, "imagecodecs", None)
        monkeypatch.setitem(sys.modules, "tifffile", None)
        with pytest.raises(ImageError, match=r'deep: .* pip install "mair-cli\[depth\]"'):
            read_picture(path)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_transparent_colour_of_gray_png_is_found_at_every_depth(depth: int) -> None:
    import struct
    import zlib

    top = 2**depth - 1
    values = [0, 1, top - 1 if depth > 1 else 0, top]
    bits = "".join(f"{value:0{depth}b}" for value in values)
    line = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, depth, 0, 0, 0, 0))
    png += chunk(b"tRNS", struct.pack(">H", 1)) + chunk(b"IDAT", zlib.compress(b"\0" + line)) + chunk(b"IEND", b"")
    found = read_picture(io.BytesIO(png))
    assert isinstance(found, Picture)
    full = 65535 if depth == 16 else 255
    assert found.alpha is not None
    assert found.color.tolist() == [[value * full // top for value in values]]
    assert found.alpha.tolist() == [[0 if value == 1 else full for value in values]]


def test_deep_rgb_png_with_a_transparent_colour_has_alpha() -> None:
    color = _samples("uint16", 3, 4, 3)
    out = io.BytesIO()
    from mair_cli.images.png16 import write_png16

    write_png16(out, color, [(b"tRNS", color[1, 2].astype(">u2").tobytes())])
    found = read_picture(out)
    assert isinstance(found, Picture)
    assert found.alpha is not None
    assert (found.alpha == 0).sum() == 1
    assert found.alpha[1, 2] == 0
    np.testing.assert_array_equal(found.color, color)


def test_gray_palettes_stay_gray_and_coloured_ones_become_rgb() -> None:
    ramp = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4))
    for colors, gray in (([16 * (n // 3) for n in range(48)], True), (list(range(48)), False)):
        image = ramp.copy()
        image.putpalette(colors)
        out = io.BytesIO()
        image.save(out, "PNG")
        found = read_picture(out)
        assert isinstance(found, Picture)
        assert found.gray is gray


def test_png_keeps_the_chunks_that_say_what_its_colours_mean(tmp_path: Path) -> None:
    chunks = ((b"gAMA", (100000).to_bytes(4, "big")), (b"cHRM", bytes(range(32))))
    for dtype in ("uint8", "uint16"):
        picture = Picture(_samples(dtype, 4, 5, 3), png_color=chunks)
        assert _again(picture, "PNG").png_color == chunks


@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF", "TIFF", "AVIF"])
def test_animations_keep_frames_times_and_loops(form: str) -> None:
    frames = [_smooth() for _ in range(4)]
    for number, frame in enumerate(frames):
        frame.color = np.roll(frame.color, 5 * number, axis=1)
        frame.lossless = True
    animation = Animation(frames, [30, 50, 70, 120], loop=3)
    out = io.BytesIO()
    write_picture(animation, out, form)
    found = read_picture(out)
    assert isinstance(found, Animation)
    for before, after in zip(frames, found.frames, strict=True):
        assert abs(before.color.astype(int) - after.color).mean() < (8 if form == "GIF" else 3)
    if form != "TIFF":
        assert found.durations == [30, 50, 70, 120]
    if form in ("PNG", "WEBP", "GIF"):
        assert found.loop == 3


@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF"])
def test_equal_frames_may_be_joined_but_keep_their_time(form: str) -> None:
    other = _smooth()
    other.color = other.color[::-1].copy()
    out = io.BytesIO()
    write_picture(Animation([_smooth(), _smooth(), other], [100, 100, 100]), out, form)
    found = read_picture(out)
    assert isinstance(found, Animation)
    assert sum(found.durations) == 300


def test_gif_transparency_survives_without_traces_of_earlier_frames() -> None:
    frames = []
    for number in range(3):
        alpha = np.zeros((20, 20), np.uint8)
        alpha[:, 6 * number : 6 * number + 6] = 255
        frames.append(Picture(np.full((20, 20, 3), 80 * number, np.uint8), alpha))
    out = io.BytesIO()
    write_picture(Animation(frames, [50] * 3), out, "GIF")
    found = read_picture(out)
    assert isinstance(found, Animation)
    for before, after in zip(frames, found.frames, strict=True):
        np.testing.assert_array_equal(after.alpha, before.alpha)


def test_frames_are_refused_by_formats_of_one_picture() -> None:
    animation = Animation([_smooth(), _smooth()], [10, 10])
    for form in ("JPEG", "BMP", "PPM"):
        with pytest.raises(ImageError, match="holds one picture"):
            write_picture(animation, io.BytesIO(), form)


def test_pages_of_different_size_and_kind_survive_in_tiff() -> None:
    pages = [_picture(gray=True), _picture(height=30, width=20), _picture(alpha=True)]
    out = io.BytesIO()
    write_picture(Animation(pages, [0, 0, 0]), out, "TIFF")
    found = read_picture(out)
    assert isinstance(found, Animation)
    for before, after in zip(pages, found.frames, strict=True):
        np.testing.assert_array_equal(before.color, after.color)


def test_too_large_pictures_are_refused_by_name() -> None:
    wide = Picture(np.zeros((1, 16384, 3), np.uint8))
    with pytest.raises(ImageError, match=r"WEBP holds at most 16383 pixels a side, not 16384×1"):
        write_picture(wide, io.BytesIO(), "webp")


def test_the_bound_counts_output_pixels_and_names_its_flag(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_picture(Picture(np.zeros((20, 30), np.uint8)), path, "png")
    assert read_picture(path, max_output_pixels=600 * 16, scale=4)
    with pytest.raises(ImageError, match=r"a\.png: 30×20 ×4 makes 9,600 pixels, .* 9,599 pixels; `max_pixels`"):
        read_picture(path, max_output_pixels=600 * 16 - 1, scale=4)


def test_the_bound_rules_over_pillows_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    write_picture(Picture(np.zeros((20, 30), np.uint8)), path, "png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read_picture(path)
    assert Image.MAX_IMAGE_PIXELS == 100, "a global of Pillow was left changed"


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_picture(_picture(), path, "png")
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {"a.png": b"old"}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ImageError, match=r"a\.png: cannot be written: no space left on device"):
        write_picture(_picture(), path, "png")
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {"a.png": b"old"}


def test_files_get_the_permissions_of_ordinary_new_files(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    write_picture(_picture(), tmp_path / "a.png", "png")
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o604])
def test_an_overwritten_file_keeps_its_permissions(mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.touch()
    path.chmod(mode)
    seen: list[int] = []

    def watch(*_: object) -> None:
        seen.extend(stat.S_IMODE(entry.stat().st_mode) for entry in tmp_path.glob("*.part"))

    monkeypatch.setattr(os, "fsync", watch)
    write_picture(_picture(), path, "png")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert seen
    assert not [other for other in seen if other & ~mode], "while unfinished, others could read it"


def test_a_link_stays_and_the_file_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "a.png", tmp_path / "link.png"
    real.write_bytes(b"old")
    link.symlink_to(real)
    write_picture(_picture(), link, "png")
    assert link.is_symlink()
    np.testing.assert_array_equal(_color(real), _picture().color)
    assert [entry.name for entry in (tmp_path / "real").iterdir()] == ["a.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    write_picture(_picture(), pipe, "png")
    reader.join(10)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    found = read_picture(io.BytesIO(received[0]))
    assert isinstance(found, Picture)
    np.testing.assert_array_equal(found.color, _picture().color)


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="no devices here")
def test_a_device_stays_a_device() -> None:
    write_picture(_picture(), Path("/dev/null"), "png")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.parametrize("name", ["EINVAL", "ENOSYS", "EOPNOTSUPP"])
def test_a_file_system_that_cannot_sync_keeps_the_result(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unable(*_: object) -> None:
        raise OSError(getattr(errno, name), "not here")

    monkeypatch.setattr(os, "fsync", unable)
    write_picture(_picture(), tmp_path / "a.png", "png")
    np.testing.assert_array_equal(_color(tmp_path / "a.png"), _picture().color)


def test_a_missing_folder_is_an_image_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"a\.png: cannot be written: no such file or directory"):
        write_picture(_picture(), tmp_path / "none" / "a.png", "png")


@pytest.mark.parametrize("form", WRITERS)
def test_streams_that_cannot_seek_are_read_and_written(form: str) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: object) -> int:
            raise io.UnsupportedOperation

        def tell(self) -> int:
            raise io.UnsupportedOperation

    out: BinaryIO = Pipe()
    write_picture(_smooth(), out, form)
    assert isinstance(out, Pipe)
    assert read_picture(Pipe(out.getvalue()))


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "empty", "text"])
def test_what_is_no_image_file_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "input.png"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind != "missing":
        path.write_text("" if kind == "empty" else "not an image")
    with pytest.raises(ImageError) as caught:
        read_picture(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1


def test_floats_outside_zero_to_one_are_refused(tmp_path: Path) -> None:
    for bad in (1.5, -0.1, float("nan"), float("inf")):
        values = np.full((4, 4), 0.5, np.float32)
        values[1, 1] = bad
        Image.fromarray(values).save(tmp_path / "a.tif")
        with pytest.raises(ImageError, match=r"a\.tif: .*\[0, 1\]"):
            read_picture(tmp_path / "a.tif")


def test_inks_are_converted_by_their_profile_and_lose_it(tmp_path: Path) -> None:
    image = Image.fromarray(np.full((8, 8, 4), (0, 200, 200, 0), np.uint8), "CMYK")
    image.save(tmp_path / "a.tif", icc_profile=b"\0" * 16 + b"CMYK" + bytes(200))  # damaged: plain conversion
    picture = read_picture(tmp_path / "a.tif")
    assert isinstance(picture, Picture)
    assert picture.icc_profile is None
    assert picture.color[0, 0].tolist() == [255, 55, 55]


def test_default_formats_follow_the_rule() -> None:
    assert default_format("BMP", True) == default_format("unknown", False) == default_format("PNG", True) == "PNG"
    assert default_format("JPEG", False) == default_format("MPO", False) == "JPEG"
    assert (default_format("WEBP", False), default_format("WEBP", True)) == ("WEBP", "PNG")
    assert (default_format("GIF", True), default_format("GIF", True, animated=True)) == ("PNG", "GIF")
    assert default_format("AVIF", False, dtype="uint16") == "PNG"
    assert default_format("TIFF", True, dtype="float32") == "TIFF"


def test_names_of_formats_are_understood() -> None:
    for name in ("jpg", "JPEG", ".jpeg", " Jpg"):
        assert writable_format(name) == "JPEG"
    assert [writable_format(name) for name in ("tif", "jp2", "apng", "PPM", "pgm")] == [
        *("TIFF", "JPEG2000", "PNG", "PPM", "PPM"),
    ]
    assert extension_for("jpeg") == ".jpg"
    assert all(FORMATS[extension] == form for form, writer in WRITERS.items() for extension in writer.extensions)
    for wrong in ("psd", "exe", ""):
        with pytest.raises(UsageError, match="formats: png, jpg"):
            writable_format(wrong)


def test_depths_are_converted_over_the_whole_range_and_back() -> None:
    for dtype in ("uint8", "uint16"):
        every = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
        np.testing.assert_array_equal(convert_depth(convert_depth(every, "float32"), dtype), every)
    shorter = convert_depth(np.arange(65536, dtype=np.uint16), "uint8")
    np.testing.assert_array_equal(shorter, np.rint(np.arange(65536) / 257))


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_any_still_picture_is_read_as_8_bit_rgb(gray: bool, dtype: str, tmp_path: Path) -> None:
    picture = _picture(dtype, gray, alpha=True)
    write_picture(picture, tmp_path / "a.png", "png")
    expected = convert_depth(picture.color, "uint8")
    expected = np.stack([expected] * 3, axis=2) if gray else expected
    np.testing.assert_array_equal(read_rgb8(tmp_path / "a.png"), expected)


def test_an_animation_is_not_read_as_one_picture(tmp_path: Path) -> None:
    first = _picture()
    write_picture(Animation([first, Picture(255 - first.color)], [10, 10]), tmp_path / "a.gif", "gif")
    with pytest.raises(ImageError, match=r"a\.gif: it is an animation"):
        read_rgb8(tmp_path / "a.gif")
