"""Reading: which file is what, whether it may be decoded, and its pixels upright and in full depth.

Order of work: header, bound on the size, pixels, colour, orientation. Whatever a damaged file makes the decoders raise
becomes an ImageError of one line.
"""

from __future__ import annotations

import logging
import math
import os
import zlib
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from mair_cli.errors import ImageError
from mair_cli.images import deep_samples, headers, tiff_tags
from mair_cli.images.color import cmyk_to_rgb, match_profile, split
from mair_cli.images.color_encoding import ColorEncoding, from_code_points
from mair_cli.images.exif import orientation_of, reset_orientation, strip_prefix
from mair_cli.images.formats import READABLE, WRITERS
from mair_cli.images.guard import (
    Limit,
    check_memory,
    decoding,
    library_errors,
    open_stream,
    pillow_pixel_limit,
    silence_libtiff,
    truncation_allowed,
)
from mair_cli.images.jpeg_quality import jpeg_quality
from mair_cli.images.metadata import Metadata, read_metadata
from mair_cli.images.picture import Animation, ImageInfo, Picture, Samples
from mair_cli.images.png16 import read_png16

_log = logging.getLogger(__name__)

_HEADER_BYTES: Final = 1 << 16
_MAX_DEFLATE_RATIO: Final = 1040  # no deflate stream unpacks to more times its own length
_MAX_LZW_RATIO: Final = 2731  # nor one of GIF's: 4096 pixels for 12 bits
_OPENING_BYTES: Final = 16  # memory per pixel of the canvas that opening a GIF or WebP file takes
_MAX_SCANS: Final = 100  # of a progressive JPEG file, each of which takes as long as a picture; encoders make about ten
_MAX_METADATA: Final = 1 << 26  # bytes over all pages of a TIFF file, which may all point to the same ones
_JPEG_END_WITHIN: Final = 64  # bytes; some programs pad files
_LEAST_SHARE_OF_ROWS: Final = 0.5  # of a truncated picture
_HARMLESS_CANVAS: Final = 1 << 26  # below this, a canvas that is mostly empty does no harm
_LOSSY: Final = frozenset({"JPEG", "MPO", "AVIF", "JPEG2000"})
_ANIMATED: Final = frozenset({"GIF", "PNG", "WEBP", "AVIF"})
_TIFF_STARTS: Final = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_UNSUPPORTED_SIGNATURES: Final = (
    (4, (b"ftyphei", b"ftyphev", b"ftypmif1", b"ftypmsf1"), "HEIF"),
    (0, (b"\x76\x2f\x31\x01",), "OpenEXR"),
    (0, (b"\xff\x0a", b"\0\0\0\x0cJXL "), "JPEG XL"),
    (0, (b"\xff\xd8\xff\xf7",), "JPEG-LS"),
    (0, (b"%PDF", b"%!PS"), "PDF or PostScript"),
    (0, (b"<svg", b"<?xml"), "SVG or XML"),
)


@dataclass
class _File:
    """An image file of which the header has been read.

    `image` is Pillow's view of it, None where Pillow cannot open it. At most one of `png`, `pages`, `pnm` and `bits`
    says by what other way the pixels are decoded. `told_profile` is a profile that Pillow does not look for.
    """

    name: str
    stream: BinaryIO
    format: str
    width: int
    height: int
    frames: int = 1
    dtype: str = "uint8"
    lossless: bool = True
    image: Image.Image | None = None
    png: headers.PngHeader | None = None
    pages: tuple[tuple[int, headers.TiffPage], ...] = ()
    pnm: headers.PnmHeader | None = None
    bits: int = 8
    told_profile: bytes | None = None
    truncated: bool = False

    @property
    def info(self) -> dict[str | tuple[int, int], object]:
        """What Pillow found beside the pixels."""
        return self.image.info if self.image is not None else {}

    @property
    def decoding_bytes(self) -> int:
        """About how much memory decoding takes at most: what is kept of each frame, and copies of one on the way."""
        if self.pages:
            kept = [page.width * page.height * page.samples * -(-page.bits // 8) for _, page in self.pages]
        else:
            channels = len(self.image.getbands()) if self.image is not None else 4
            kept = [self.width * self.height * channels * (-(-self.bits // 8))] * self.frames
        return sum(kept) + 3 * max(kept)

    @property
    def profile(self) -> bytes | None:
        """The ICC profile."""
        found = self.info.get("icc_profile") or self.told_profile
        return found if isinstance(found, bytes) and len(found) > 128 else None

    @property
    def exif(self) -> bytes | None:
        """EXIF data without prefix, not yet made upright. Some formats give them only after the pixels."""
        found = self.info.get("exif")
        if found is None and self.image is not None and "Raw profile type exif" in self.info:
            with library_errors():
                found = self.image.getexif().tobytes()
        return strip_prefix(found) if isinstance(found, bytes) and found else None

    @property
    def metadata(self) -> Metadata:
        """What else is told of a picture that is decoded, for an upright one; pages of a TIFF file have their own."""
        if self.image is None or self.pages:
            return Metadata()
        with library_errors():
            return read_metadata(self.image).upright()

    @property
    def jpeg_quality(self) -> int | None:
        """How strongly a JPEG file is compressed."""
        if isinstance(self.image, JpegImageFile) and self.image.quantization:
            return jpeg_quality(self.image.quantization, color=self.image.mode != "L")
        return None

    @property
    def first_orientation(self) -> int:
        """Orientation of the first frame, as far as it is known before decoding."""
        return self.pages[0][1].orientation if self.pages else orientation_of(self.exif)


def read(source: Path | BinaryIO, name: str | None, limit: Limit, allow_truncated: bool) -> Picture | Animation:
    """See `io.read_picture`."""
    with open_stream(source, name) as (stream, called), decoding(called):
        file = _read_header(stream, called, limit)
        check_memory(file.decoding_bytes, called)
        with pillow_pixel_limit(limit.input_pixels):
            if file.pages:
                silence_libtiff()
                return _read_tiff(file)
            if file.frames > 1:
                with pillow_pixel_limit(
                    file.width * file.height
                ):  # a frame may make the canvas larger, and take memory
                    return _read_frames(file, limit)
            try:
                return _read_still(file, limit)
            except (OSError, ValueError, zlib.error):
                if not (allow_truncated and _ends_early(file)):
                    raise
            with truncation_allowed():
                stream.seek(0)
                return _read_still(replace(_read_header(stream, called, limit), truncated=True), limit)


def _ends_early(file: _File) -> bool:
    """Whether the file is of a kind whose rows are stored from top to bottom, and has no end."""
    if file.png is not None:
        return not file.png.interlaced and all(name != b"IEND" for name, _ in headers.png_chunks(file.stream, 0))
    if file.format not in ("JPEG", "MPO"):
        return False
    file.stream.seek(max(0, _size(file.stream) - _JPEG_END_WITHIN))
    return b"\xff\xd9" not in file.stream.read()


def _check_rows(color: Samples, name: str) -> None:
    """Refuse a truncated picture of which too little is there: what was not decoded is of one colour, gray or black."""
    filled = (color == color[-1, -1]).reshape(len(color), -1).all(axis=1)
    known = len(color) - int(np.argmin(filled[::-1])) if not filled.all() else 0
    if known < _LEAST_SHARE_OF_ROWS * len(color):
        raise ImageError(f"{name}: cannot be read: the file ends early, after {known} of {len(color)} rows")
    _log.warning("%s: the file ends early, after %d of %d rows; the rest is empty", name, known, len(color))


def read_info(source: Path | BinaryIO, name: str | None, limit: Limit) -> ImageInfo:
    """See `io.probe`."""
    with open_stream(source, name) as (stream, called), decoding(called):
        file = _read_header(stream, called, limit)
        size = (file.width, file.height) if file.first_orientation < 5 else (file.height, file.width)
        return ImageInfo(*size, file.frames, file.format, file.dtype, file.lossless, file.jpeg_quality)


def _read_header(stream: BinaryIO, name: str, limit: Limit) -> _File:
    """Read the header: what the file holds, and how it has to be decoded."""
    head = stream.read(_HEADER_BYTES)
    if not head:
        raise ImageError(f"{name}: the file is empty")
    if head.startswith(_TIFF_STARTS):
        return _read_tiff_header(stream, name, limit)
    png = headers.read_png_header(stream) if head.startswith(headers.PNG_SIGNATURE) else None
    _check_canvas(head, png, stream, name, limit)
    stream.seek(0)
    try:
        with library_errors(), pillow_pixel_limit(limit.input_pixels):
            Image.init()
            image = Image.open(stream, formats=[kind for kind in READABLE if kind in Image.OPEN])
            pictures = int(getattr(image, "n_frames", 1))  # counted in the file by some readers
    except UnidentifiedImageError:
        for at, starts, kind in _UNSUPPORTED_SIGNATURES:
            if head[at : at + 12].startswith(starts):
                raise ImageError(f"{name}: {kind} files are not read; convert it, say to PNG") from None
        raise
    form = {"DIB": "BMP"}.get(image.format or "", image.format or "")
    file = _File(name, stream, form, *image.size, image=image, lossless=form not in _LOSSY)
    limit.check(*image.size, 1, name)
    if image.info.get("progressive") and headers.jpeg_scans(stream, _MAX_SCANS + 1) > _MAX_SCANS:
        raise ImageError(f"{name}: it has more than {_MAX_SCANS} scans, which no encoder makes")
    if form in _ANIMATED:
        file.frames = pictures - bool(image.info.get("default_image"))
    elif pictures > 1 and form == "MPO":
        _log.warning("%s: only the first of its pictures is read", name)
    limit.check(file.width, file.height, file.frames, name)
    _choose_decoder(file, png, head)
    return file


def _check_canvas(head: bytes, png: headers.PngHeader | None, stream: BinaryIO, name: str, limit: Limit) -> None:
    """Refuse what takes too much memory when it is merely opened, or is too short for what it claims to be."""
    if png is not None:
        limit.check(png.width, png.height, 1, name)
        if png.decoded_bytes > _MAX_DEFLATE_RATIO * _size(stream):
            raise ImageError(f"{name}: cannot be read: the file is too short for {png.width}×{png.height} pixels")
    gif = head[:3] == b"GIF"
    canvas = headers.gif_size(head) if gif else headers.webp_size(head) if head[:4] == b"RIFF" else None
    if canvas is None:
        return
    limit.check(*canvas, 1, name)
    size, pixels = f"{canvas[0]}×{canvas[1]}", math.prod(canvas)
    if not gif and max(canvas) > WRITERS["WEBP"].largest:
        raise ImageError(f"{name}: cannot be read: no WebP picture has {size} pixels")
    if gif and pixels > max(_HARMLESS_CANVAS, _MAX_LZW_RATIO * _size(stream)):
        raise ImageError(f"{name}: cannot be read: the file is too short for {size} pixels")
    check_memory(pixels * _OPENING_BYTES, name)


def _size(stream: BinaryIO) -> int:
    return stream.seek(0, os.SEEK_END)


def _choose_decoder(file: _File, png: headers.PngHeader | None, head: bytes) -> None:
    """Look for samples that Pillow would shorten."""
    image = file.image
    assert image is not None
    file.png = png
    if png is not None:
        file.bits = png.depth
    elif file.format == "PPM":
        pnm = headers.read_pnm_header(head)
        if pnm is not None and pnm.largest > 255:
            file.pnm, file.bits = pnm, 16
    elif file.format == "AVIF":
        file.bits = headers.avif_depth(head)
        file.told_profile = _profile_by_code_points(headers.avif_code_points(head), file.name)
    elif file.format == "JPEG2000":
        file.bits, _ = headers.jpeg2000_depth(head)
        file.told_profile = headers.jpeg2000_profile(file.stream)
    elif file.format == "WEBP":
        file.lossless = headers.webp_is_lossless(head)
    elif file.format == "SGI" and head[3] == 2:
        raise ImageError(f"{file.name}: SGI with 16 bits per sample is not read; convert it to PNG or TIFF")
    if file.bits > 8 and file.frames > 1:
        raise ImageError(f"{file.name}: animated {file.format} with {file.bits} bits per sample is not read")
    file.dtype = "float32" if image.mode == "F" else "uint16" if file.bits > 8 else "uint8"


def _profile_by_code_points(points: tuple[int, int] | None, name: str) -> bytes | None:
    encoding = from_code_points(*points) if points is not None else ColorEncoding()
    if encoding is None:
        _log.warning("%s: the meaning of its colours (code points %s) is lost: they are taken for sRGB", name, points)
        return None
    return None if encoding.is_srgb else encoding.icc_profile(gray=False)


def _read_tiff_header(stream: BinaryIO, name: str, limit: Limit) -> _File:
    found = headers.read_tiff_pages(stream)
    pages = tuple((index, page) for index, page in enumerate(found) if not page.reduced)
    if not pages:
        raise ImageError(f"{name}: it holds only reduced copies of a picture")
    if len(pages) < len(found):
        _log.warning("%s: %d reduced copies in it are left out", name, len(found) - len(pages))
    if any(page.width < 1 or page.height < 1 for _, page in pages):
        raise ImageError(f"{name}: cannot be read: the file is damaged (a page without size)")
    first = pages[0][1]
    total = sum(page.width * page.height for _, page in pages)
    limit.check(first.width, first.height, len(pages), name, total)
    image: Image.Image | None = None
    if all(page.pillow_keeps for _, page in pages):
        stream.seek(0)
        with suppress(OSError, ValueError), library_errors():  # a kind that Pillow does not know; tifffile may
            image = Image.open(stream, formats=("TIFF",))
    dtype = "float32" if first.kind == 3 else "uint16" if first.deep else "uint8"
    lossless = not any(page.jpeg for _, page in pages)
    return _File(name, stream, "TIFF", first.width, first.height, len(pages), dtype, lossless, image, pages=pages)


def _read_still(file: _File, limit: Limit) -> Picture:
    image = file.image
    assert image is not None
    profile: bytes | None
    if file.png is not None and file.png.depth == 16:
        color, alpha = _split_png16(file, file.png)
        profile = file.profile
        _load(image)  # for EXIF data after the pixels
    elif file.pnm is not None:
        color, alpha, profile = deep_samples.read_pnm(file.stream, file.pnm), None, None
    elif file.bits > 8 and not image.mode.startswith("I;16"):
        file.stream.seek(0)
        decode = deep_samples.read_av1 if file.format == "AVIF" else deep_samples.read_jpeg2000
        color, alpha = decode(file.stream.read(), file.bits, image.size, file.name)
        profile = file.profile
    else:
        _load(image)
        limit.check(*image.size, 1, file.name)
        color, alpha, profile = split(image, file.profile, _transparent(file), file.name)
    if file.truncated:
        _check_rows(color, file.name)
    return _picture(file, color, alpha, profile, file.exif, orientation_of(file.exif))


def _load(image: Image.Image, frame: int | None = None) -> None:
    """Decode the pixels, of the named frame."""
    with library_errors():
        if frame is not None:
            image.seek(frame)
        if image.format == "TIFF":
            image.info.pop(
                "xmp", None
            )  # its orientation is a copy of the tag's, and Pillow would apply it in its place
        image.load()


def _split_png16(file: _File, header: headers.PngHeader) -> tuple[Samples, Samples | None]:
    samples = read_png16(file.stream, header, allow_truncated=file.truncated)
    alpha: Samples | None = None
    if header.channels in (2, 4):
        alpha = np.ascontiguousarray(samples[:, :, -1])
        samples = np.ascontiguousarray(samples[:, :, :-1])
    elif header.transparent is not None:
        hit = (samples == np.array(header.transparent, np.uint16)).all(axis=2)
        alpha = np.where(hit, 0, 65535).astype(np.uint16)
    return (samples[:, :, 0] if samples.shape[2] == 1 else samples), alpha


def _transparent(file: _File) -> tuple[int, ...] | None:
    """The transparent colour of a PNG file, in the range of 8 bits; palettes have theirs elsewhere."""
    if file.png is None or file.png.transparent is None:
        return None
    top = 2**file.png.depth - 1
    return tuple((value & top) * 255 // top for value in file.png.transparent)


def _picture(
    file: _File, color: Samples, alpha: Samples | None, profile: bytes | None, exif: bytes | None, orientation: int
) -> Picture:
    kept = reset_orientation(exif) if exif else None
    if exif and kept is None:
        _log.warning("%s: its EXIF data are damaged and are left out", file.name)
    color, profile = match_profile(color, profile, file.name)
    picture = Picture(
        color=_apply_orientation(color, orientation),
        alpha=None if alpha is None else _apply_orientation(alpha, orientation),
        icc_profile=profile,
        exif=kept,
        format=file.format,
        lossless=file.lossless,
        png_color=file.png.color if file.png is not None else (),
        metadata=file.metadata,
        truncated=file.truncated,
    )
    picture.jpeg_quality = file.jpeg_quality
    return picture


def _apply_orientation(samples: Samples, orientation: int) -> Samples:
    """Apply an EXIF orientation."""
    if orientation > 4:
        samples = samples.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(samples[::rows, ::columns])


def _read_frames(file: _File, limit: Limit) -> Animation:
    """All frames as they are to be seen: Pillow puts those stored as differences onto what they change."""
    image = file.image
    assert image is not None
    loop = file.info.get("loop")
    plays = int(loop) if isinstance(loop, int) else 1
    if file.format == "GIF" and plays:
        plays += loop is not None  # a GIF counts repetitions
    skipped = int(bool(file.info.get("default_image")))
    if skipped:
        _log.warning("%s: the still picture shown where animations are not is left out", file.name)
    frames, durations, seen = [], [], 0
    exif: bytes | None = None
    for index in range(skipped, file.frames + skipped):
        try:
            _load(image, index)
        except Image.DecompressionBombError:
            raise ImageError(f"{file.name}: its frames differ in size, which is not supported") from None
        seen += image.width * image.height
        limit.check(seen, 1, 1, file.name)
        durations.append(round(float(image.info.get("duration") or 0)))
        exif = exif or file.exif
        color, alpha, profile = split(image, file.profile, _transparent(file), file.name)
        frames.append(_picture(file, color, alpha, profile, exif, orientation_of(exif)))
    if len({(frame.width, frame.height) for frame in frames}) > 1:
        raise ImageError(f"{file.name}: its frames differ in size, which is not supported")
    _unify_channels(frames)
    return Animation(frames, durations, 0 if plays < 0 else plays)


def _unify_channels(frames: list[Picture]) -> None:
    """Give all frames colour, or alpha, where any has it."""
    color = any(not frame.gray for frame in frames)
    alpha = any(frame.alpha is not None for frame in frames)
    for frame in frames:
        if color and frame.gray:
            frame.color = np.repeat(frame.color[:, :, None], 3, axis=2)
        if alpha and frame.alpha is None:
            frame.alpha = np.full((frame.height, frame.width), np.iinfo(frame.color.dtype).max, frame.color.dtype)


def _read_tiff(file: _File) -> Picture | Animation:
    room = _MAX_METADATA
    pages = []
    for index, page in file.pages:
        tags = tiff_tags.read_tags(file.stream, page, file.name) if room > 0 else tiff_tags.PageTags()
        if room > 0 >= (room := room - tags.size):
            _log.warning("%s: its pages have too many EXIF data; those of later pages are left out", file.name)
        pages.append(replace(_read_page(file, index, page, tags), metadata=tags.metadata.upright()))
    return pages[0] if len(pages) == 1 else Animation(pages, [0] * len(pages))


def _read_page(file: _File, index: int, page: headers.TiffPage, tags: tiff_tags.PageTags) -> Picture:
    exif, profile = tags.exif, tags.profile
    if file.image is None:
        color, alpha = deep_samples.read_tiff_page(file.stream, index, page, file.name)
        if color.ndim == 3 and color.shape[2] == 4:
            color = cmyk_to_rgb(color, profile, file.name)
            profile = None
        return _picture(file, color, alpha, profile, exif, page.orientation)
    _load(file.image, index)  # also turns it upright
    stored = (page.width, page.height) if page.orientation < 5 else (page.height, page.width)
    if file.image.size != stored:
        raise ValueError("its header contradicts itself")
    color, alpha, profile = split(file.image, profile, None, file.name)
    if page.deep and page.photometric == 0:  # Pillow leaves black for white at this depth
        color = deep_samples.invert(color)
    return _picture(file, color, alpha, profile, exif, 1)
