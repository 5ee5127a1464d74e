"""Files that would take more memory or time than they are worth are refused before they take it."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pytest
from PIL import Image

from mair_cli.errors import ImageError
from mair_cli.images import guard
from mair_cli.images.headers import gif_size, jpeg_scans
from mair_cli.images.io import Animation, Picture, read_picture, write_picture

GIB = 2**30


def _gif(width: int, height: int, frame: tuple[int, int]) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(3) + b"\xff" * 3
    control = b"!\xf9\x04\x08\0\0\0\0"
    return head + control + b"," + struct.pack("<4HB", 0, 0, *frame, 0) + b"\x02\x02L\x01\0;"


def _webp_animation(width: int, height: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    picture = b"VP8L" + struct.pack("<L", 14) + bytes.fromhex("2f0fc003000710 11fd0f4444ff03")
    frame = bytes(6) + b"\x0f\0\0\x0f\0\0\x10\0\0\0" + picture
    chunks = b"VP8X" + struct.pack("<LL", 10, 2) + size
    chunks += b"ANIM" + struct.pack("<L", 6) + bytes(6) + b"ANMF" + struct.pack("<L", len(frame)) + frame
    return b"RIFF" + struct.pack("<L", 4 + len(chunks)) + b"WEBP" + chunks


def _one_bit_png(side: int) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">L", len(content)) + name + content + struct.pack(">L", zlib.crc32(name + content))

    lines = zlib.compressobj()
    packed = b"".join(lines.compress(bytes(1 + side // 8)) for _ in range(side)) + lines.flush()
    header = struct.pack(">LLBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (_gif(65535, 40000, (65535, 40000)), "65535×40000 makes 2,621 megapixels"),
        (_gif(1, 1, (65535, 40000)), "65535×40000 makes 2,621 megapixels"),
        (_gif(30000, 30000, (30000, 30000)), "too short for 30000×30000"),
        (_webp_animation(31000, 31000), "no WebP picture has 31000×31000"),
    ],
)
def test_a_canvas_is_measured_before_anything_is_opened(
    data: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: object, **__: object) -> None:
        raise AssertionError("the library was asked")

    monkeypatch.setattr(Image, "open", opened)
    with pytest.raises(ImageError, match=reason):
        read_picture(io.BytesIO(data))


def test_the_canvas_of_a_gif_is_told_by_its_head() -> None:
    assert gif_size(_gif(100, 50, (20, 70))) == (100, 70)
    assert gif_size(_gif(100, 50, (20, 70))[:20]) is None


@pytest.mark.parametrize("kind", ["webp", "png", "png16", "tiff", "jpeg"])
def test_what_needs_more_memory_than_is_free_is_refused_in_one_line(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same file is read when memory is there."""
    picture = Picture(np.zeros((300, 400, 3), np.uint16 if kind == "png16" else np.uint8))
    stream = io.BytesIO()
    write_picture(picture, stream, kind.removesuffix("16"))
    monkeypatch.setattr(guard, "_ALWAYS_ALLOWED", 0)
    monkeypatch.setattr(guard, "free_host_memory", lambda: 300 * 400 * 3)
    with pytest.raises(ImageError, match=r"a file: decoding it takes about 0\.0 GiB, 0\.0 GiB are free"):
        read_picture(stream, name="a file")
    monkeypatch.setattr(guard, "free_host_memory", lambda: 300 * 400 * 40)
    assert read_picture(stream)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["png", "tif"])
def test_a_large_one_bit_picture_stays_within_what_was_reckoned(form: str, tmp_path: Path) -> None:
    """4 bytes a pixel are reckoned with: one kept, three on the way."""
    side = 12_000
    (tmp_path / "a.png").write_bytes(_one_bit_png(side))
    if form == "tif":
        with Image.open(tmp_path / "a.png") as image:
            image.save(tmp_path / "a.tif", compression="group4")
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom mair_cli.images.io import read_picture\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\nread_picture(Path(sys.argv[1]))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / f"a.{form}")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 4.3 * side**2


def test_pages_that_share_a_long_text_keep_it_only_as_far_as_there_is_room(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    exif = Image.Exif()
    exif[270] = "x" * 5000
    pages = [Picture(np.zeros((2, 2), np.uint8), exif=exif.tobytes()[6:]) for _ in range(20)]
    stream = io.BytesIO()
    write_picture(Animation(pages, [0] * 20), stream, "TIFF")
    monkeypatch.setattr("mair_cli.images.read._MAX_METADATA", 12_000)
    found = read_picture(stream)
    assert isinstance(found, Animation)
    assert [frame.exif is not None for frame in found.frames] == [True] * 3 + [False] * 17
    assert caplog.text.count("too many EXIF data") == 1


def _progressive(extra: int) -> bytes:
    """A progressive JPEG file with so many further scans, all empty."""
    stream = io.BytesIO()
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    empty = b"\xff\xda\0\x08\x01\x01\0\x01\x05\x01\0"
    return data[:-2] + empty * extra + data[-2:]


def test_scans_are_counted_up_to_the_end_of_the_picture() -> None:
    usual = jpeg_scans(io.BytesIO(_progressive(0)), 1000)
    assert 3 <= usual <= 10
    assert jpeg_scans(io.BytesIO(_progressive(30) + b"\xff\xda" * 500), 1000) == usual + 30


def test_a_progressive_file_of_very_many_scans_is_refused_at_once() -> None:
    assert read_picture(io.BytesIO(_progressive(0)))
    started = time.monotonic()
    with pytest.raises(ImageError, match="more than 100 scans"):
        read_picture(io.BytesIO(_progressive(15_000)))
    assert time.monotonic() - started < 2


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no devices here")
def test_devices_are_no_pictures() -> None:
    with pytest.raises(ImageError, match="not a regular file"):
        read_picture(Path("/dev/zero"))
    with Path("/dev/zero").open("rb") as stream, pytest.raises(ImageError, match="standard input: a device"):
        read_picture(stream)


@pytest.mark.parametrize("name", ["gif44.gif", "webp_vp8x.webp"])
def test_small_files_with_huge_canvases_are_refused(corpus: Path, name: str) -> None:
    with pytest.raises(ImageError):
        read_picture(corpus / "faults" / name)


class _Endless(io.RawIOBase):
    """A pipe into which somebody writes for ever."""

    def __init__(self) -> None:
        self.taken = 0

    def read(self, size: int = -1) -> bytes:
        assert size > 0, "an endless stream is never read to its end"
        self.taken += size
        return bytes(size)


def test_a_pipe_without_end_is_given_up_where_memory_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_ALWAYS_ALLOWED", 1 << 20)
    monkeypatch.setattr(guard, "free_host_memory", lambda: 16 << 20)
    pipe = _Endless()
    with pytest.raises(ImageError, match="standard input: it goes on after"):
        read_picture(cast("BinaryIO", pipe))
    assert pipe.taken <= 10 << 20
