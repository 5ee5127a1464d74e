"""Damaged files are read or refused in one line, quickly and without noise: never any other error."""

from __future__ import annotations

import io
import os
import time

import numpy as np
import pytest
from PIL import Image
from raw_files import dng

from mair_cli.errors import ImageError
from mair_cli.images.io import Picture, read_picture, write_picture

KINDS = [
    "png",
    "png16",
    "apng",
    "jpeg",
    "tiff",
    "tiff16",
    "webp",
    "webp animation",
    "gif",
    "ppm",
    "avif",
    "bmp",
    "jp2",
    "heif",
    "jxl",
    "dng",
]
LIMIT = 4_000_000  # pixels: mutated headers must not make the test slow by being believed


def _seed_picture(dtype: str, alpha: bool) -> Picture:
    rng = np.random.default_rng(5)
    top = np.iinfo(dtype).max
    color = rng.integers(0, top, (13, 17, 3)).astype(dtype)
    color[4:9] = top // 3
    exif = Image.Exif()
    exif[274], exif[271] = 6, "maker"
    return Picture(
        color,
        rng.integers(0, top, (13, 17)).astype(dtype) if alpha else None,
        icc_profile=b"\0" * 16 + b"RGB " + bytes(200),
        exif=exif.tobytes()[6:],
    )


def _seed_file(kind: str) -> bytes:
    """A small valid file with as much in it as the format can hold."""
    out = io.BytesIO()
    frames = [Image.fromarray(np.full((13, 17, 3), 40 * n, np.uint8)) for n in range(3)]
    for number, frame in enumerate(frames):
        frame.putpixel((number, number), (255, 0, 0))
    if kind in ("apng", "webp animation", "gif"):
        form = {"apng": "PNG", "webp animation": "WEBP", "gif": "GIF"}[kind]
        frames[0].save(out, form, save_all=True, append_images=frames[1:], duration=50, loop=2)
        return out.getvalue()
    if kind == "dng":
        return dng(np.random.default_rng(5).integers(0, 65536, (28, 34)).astype(np.uint16), orientation=6)
    deep = kind.endswith("16") or kind == "ppm"
    picture = _seed_picture("uint16" if deep else "uint8", alpha=kind in ("png", "png16", "tiff16", "webp"))
    write_picture(picture, out, kind.removesuffix("16"))
    return out.getvalue()


def _mutate(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Flip bits, overwrite, cut off, cut out, repeat, or splice with another file."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        at, length = int(rng.integers(0, max(1, len(changed)))), int(rng.integers(1, 24))
        match int(rng.integers(0, 7)):
            case 0 | 1:
                if changed:
                    changed[at % len(changed)] ^= 1 << int(rng.integers(0, 8))
            case 2:
                changed[at : at + 4] = rng.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\1\0"])
            case 3:
                del changed[at:]
            case 4:
                del changed[at : at + length]
            case 5:
                changed[at:at] = changed[at : at + length] * 3
            case _:
                start = int(rng.integers(0, len(other)))
                changed[at : at + length] = other[start : start + length]
    return bytes(changed)


def _survive(kind: str, rounds: int) -> tuple[int, int]:
    """Read mutated files; how many of them could be read, and how many were refused."""
    data, other = _seed_file(kind), _seed_file("tiff" if kind != "tiff" else "png")
    rng = np.random.default_rng(len(kind) * 1000 + rounds)
    read, messages = 0, []
    for number in range(rounds):
        mutated = _mutate(data, other, rng)
        started = time.monotonic()
        try:
            lenient = bool(number % 2)
            found = read_picture(
                io.BytesIO(mutated), f"file {number}", max_output_pixels=LIMIT, allow_truncated=lenient
            )
            read += 1
            if (found if isinstance(found, Picture) else found.frames[0]).color.size < 10_000:
                write_picture(found, io.BytesIO(), found.default_format)  # not spoilt by damaged metadata
        except ImageError as error:
            messages.append((number, str(error)))
        assert time.monotonic() - started < 20, f"{kind} {number} took too long"
    assert [said for number, said in messages if "\n" in said or not said.startswith(f"file {number}: ")] == []
    return read, len(messages)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_read_or_refused(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert read_picture(io.BytesIO(_seed_file(kind)))
    read, refused = _survive(kind, 800)
    assert read, "no file survived: the mutations are too coarse to test decoding"
    assert refused, "no file was refused: the mutations are too weak"
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files_are_read_or_refused(kind: str) -> None:
    assert all(_survive(kind, 5000))


def test_every_cut_off_file_is_refused_or_was_whole_enough_to_show_all_pixels() -> None:
    """A prefix that can be read must show the same pixels: half a picture is never taken for a whole one."""
    for kind in ("png", "png16", "tiff", "tiff16", "ppm", "bmp", "heif", "jxl"):
        data = _seed_file(kind)
        whole = read_picture(io.BytesIO(data))
        assert isinstance(whole, Picture)
        for length in range(1, len(data), 1 if len(data) < 1000 else 7):
            try:
                part = read_picture(io.BytesIO(data[:length]))
            except ImageError:
                continue
            assert isinstance(part, Picture)
            np.testing.assert_array_equal(part.color, whole.color, err_msg=f"{kind} cut to {length} bytes")


def test_faults_of_ours_are_not_taken_for_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect in the reader must show itself: only what decoding libraries raise is about the file."""
    data, picture = _seed_file("png"), _seed_picture("uint8", alpha=False)
    for error in (AttributeError, TypeError, AssertionError, KeyError, RuntimeError):

        def broken(*_: object, kind: type[Exception] = error) -> None:
            raise kind("a defect")

        with monkeypatch.context() as patch:
            patch.setattr("mair_cli.images.read._apply_orientation", broken)
            with pytest.raises(error, match="a defect"):
                read_picture(io.BytesIO(data))
        with monkeypatch.context() as patch:
            patch.setattr(Image.Image, "load", broken)
            with pytest.raises(ImageError, match="the file is damaged"):
                read_picture(io.BytesIO(data))
        with monkeypatch.context() as patch:
            patch.setattr("mair_cli.images.write._to_pillow", broken)
            with pytest.raises(error, match="a defect"):
                write_picture(picture, io.BytesIO(), "png")


def test_damaged_tiff_leaves_the_processs_standard_error_alone(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What other threads write to standard error meanwhile must arrive; only the decoder is silent."""
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)).save(
        out, "TIFF", compression="tiff_lzw"
    )
    data = bytearray(out.getvalue())
    data[300:3000] = bytes(2700)
    load = Image.Image.load

    def loud(image: Image.Image) -> object:
        os.write(2, b"from another thread")
        return load(image)

    monkeypatch.setattr(Image.Image, "load", loud)
    with pytest.raises(ImageError):
        read_picture(io.BytesIO(bytes(data)))
    told = capfd.readouterr().err
    assert told
    assert not told.replace("from another thread", "")
