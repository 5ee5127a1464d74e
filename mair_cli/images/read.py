"""Reading: the pixels of a file, upright and in full depth.

Order of work: header and bounds (`image_file`), pixels, colour, orientation. Whatever a damaged file makes the decoders
raise becomes an ImageError of one line.
"""

from __future__ import annotations

import logging
import zlib
from dataclasses import replace
from typing import BinaryIO, Final

import numpy as np
from PIL import Image

from mair_cli.errors import ImageError
from mair_cli.images import deep_samples, headers, tiff_tags
from mair_cli.images.color import cmyk_to_rgb, match_profile, split
from mair_cli.images.exif import orientation_of, reset_orientation
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
from mair_cli.images.image_file import ImageFile, file_size, read_header
from mair_cli.images.metadata import Metadata
from mair_cli.images.picture import Animation, ImageInfo, Picture, Samples
from mair_cli.images.png16 import read_png16
from mair_cli.images.raw import develop
from mair_cli.store.remote import Place

_log = logging.getLogger(__name__)
_MAX_METADATA: Final = 1 << 26  # bytes over all pages of a TIFF file, which may all point to the same ones
_JPEG_END_WITHIN: Final = 64  # bytes; some programs pad files
_LEAST_SHARE_OF_ROWS: Final = 0.5  # of a truncated picture


def read(source: Place | BinaryIO, name: str | None, limit: Limit, allow_truncated: bool) -> Picture | Animation:
    """See `io.read_picture`."""
    with open_stream(source, name) as (stream, called), decoding(called):
        file = read_header(stream, called, limit)
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
                return _read_still(replace(read_header(stream, called, limit), truncated=True), limit)


def _ends_early(file: ImageFile) -> bool:
    """Whether the file is of a kind whose rows are stored from top to bottom, and has no end."""
    if file.png is not None:
        return not file.png.interlaced and all(name != b"IEND" for name, _ in headers.png_chunks(file.stream, 0))
    if file.format not in ("JPEG", "MPO"):
        return False
    file.stream.seek(max(0, file_size(file.stream) - _JPEG_END_WITHIN))
    return b"\xff\xd9" not in file.stream.read()


def _check_rows(color: Samples, name: str) -> None:
    """Refuse a truncated picture of which too little is there: what was not decoded is of one colour, gray or black."""
    filled = (color == color[-1, -1]).reshape(len(color), -1).all(axis=1)
    known = len(color) - int(np.argmin(filled[::-1])) if not filled.all() else 0
    if known < _LEAST_SHARE_OF_ROWS * len(color):
        raise ImageError(f"{name}: cannot be read: the file ends early, after {known} of {len(color)} rows")
    _log.warning("%s: the file ends early, after %d of %d rows; the rest is empty", name, known, len(color))


def read_info(source: Place | BinaryIO, name: str | None, limit: Limit) -> ImageInfo:
    """See `io.probe`."""
    with open_stream(source, name) as (stream, called), decoding(called):
        file = read_header(stream, called, limit)
        size = (file.width, file.height) if file.first_orientation < 5 else (file.height, file.width)
        return ImageInfo(*size, file.frames, file.format, file.dtype, file.lossless, file.jpeg_quality, file.software)


def _read_still(file: ImageFile, limit: Limit) -> Picture:
    if file.format == "RAW":
        return _picture(file, develop(file.stream, file.name), None, None, file.exif, file.first_orientation)
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
        color, alpha = deep_samples.read_deep(file.format, file.stream.read(), file.bits, image.size, file.name)
        profile = file.profile
    else:
        _load(image)
        limit.check(*image.size, 1, file.name)
        color, alpha, profile = split(image, file.profile, _transparent(file), file.name)
    if file.truncated:
        _check_rows(color, file.name)
    return _picture(file, color, alpha, profile, file.exif, file.first_orientation)


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


def _split_png16(file: ImageFile, header: headers.PngHeader) -> tuple[Samples, Samples | None]:
    samples = read_png16(file.stream, header, allow_truncated=file.truncated)
    alpha: Samples | None = None
    if header.channels in (2, 4):
        alpha = np.ascontiguousarray(samples[:, :, -1])
        samples = np.ascontiguousarray(samples[:, :, :-1])
    elif header.transparent is not None:
        hit = (samples == np.array(header.transparent, np.uint16)).all(axis=2)
        alpha = np.where(hit, 0, 65535).astype(np.uint16)
    return (samples[:, :, 0] if samples.shape[2] == 1 else samples), alpha


def _transparent(file: ImageFile) -> tuple[int, ...] | None:
    """The transparent colour of a PNG file, in the range of 8 bits; palettes have theirs elsewhere."""
    if file.png is None or file.png.transparent is None:
        return None
    top = 2**file.png.depth - 1
    return tuple((value & top) * 255 // top for value in file.png.transparent)


def _picture(
    file: ImageFile, color: Samples, alpha: Samples | None, profile: bytes | None, exif: bytes | None, orientation: int
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
        metadata=file.metadata if file.frames == 1 else Metadata(),
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


def _read_frames(file: ImageFile, limit: Limit) -> Animation:
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
    metadata = file.metadata
    frames = [replace(frame, metadata=metadata) for frame in frames]
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


def _read_tiff(file: ImageFile) -> Picture | Animation:
    room = _MAX_METADATA
    pages = []
    for index, page in file.pages:
        tags = tiff_tags.read_tags(file.stream, page, file.name) if room > 0 else tiff_tags.PageTags()
        if room > 0 >= (room := room - tags.size):
            _log.warning("%s: its pages have too many EXIF data; those of later pages are left out", file.name)
        pages.append(replace(_read_page(file, index, page, tags), metadata=tags.metadata.upright()))
    return pages[0] if len(pages) == 1 else Animation(pages, [0] * len(pages))


def _read_page(file: ImageFile, index: int, page: headers.TiffPage, tags: tiff_tags.PageTags) -> Picture:
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
