"""Writing: what of a picture a format can hold, how it is encoded, and that no half-written file is ever seen."""

from __future__ import annotations

import errno
import importlib
import io
import logging
import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from PIL import Image

from mair_cli.errors import ImageError
from mair_cli.images.color import gray_to_srgb
from mair_cli.images.color_encoding import from_png_chunks
from mair_cli.images.exif import PREFIX, reset_orientation, with_pixel_size
from mair_cli.images.formats import DEFLATE_LEVEL, WRITERS, Writer, load_plugin
from mair_cli.images.guard import library_errors, warnings_ignored
from mair_cli.images.metadata import png_density, png_notes, save_options
from mair_cli.images.picture import Animation, Picture, Samples, convert_depth, full_scale
from mair_cli.images.png16 import write_png16
from mair_cli.images.software import with_software
from mair_cli.images.tiff_write import TiffContent, write_tiff
from mair_cli.store.atomic import atomic_write
from mair_cli.store.remote import Address, Place

_log = logging.getLogger(__name__)

_MAX_JPEG_EXIF: Final = 65533 - 8
_MAX_DURATION: Final = {"PNG": 65_535, "GIF": 655_350, "WEBP": 2**24 - 1, "AVIF": 2**24 - 1}
"""The longest a frame can be shown, in milliseconds."""

_MAX_LOOPS: Final = 65_535
_GRAY_AS_COLOR: Final = ("WEBP", "AVIF")
_GIF_COLORS: Final = 255  # one of 256 is left for transparency


def write(picture: Picture | Animation, target: Place | BinaryIO, form: str, quality: int | None) -> None:
    """See `io.write_picture`; `form` is a key of `WRITERS`."""
    name = str(target) if isinstance(target, Path | Address) else "standard output"
    frames = picture.frames if isinstance(picture, Animation) else [picture]
    writer = WRITERS[form]
    if len(frames) > 1 and not writer.frames:
        raise ImageError(f"{name}: {form} holds one picture, not {len(frames)} frames; write PNG, WebP, GIF or TIFF")
    for frame in frames:
        if max(frame.width, frame.height) > writer.largest:
            size = f"{frame.width}×{frame.height}"
            raise ImageError(f"{name}: {form} holds at most {writer.largest} pixels a side, not {size}; write PNG")
    fitted = [_fit_to_format(frame, form, writer, name) for frame in frames]
    with _open_target(target, name) as stream:
        if form == "TIFF":
            pages = [TiffContent(_interleave(f), f.icc_profile, f.exif, f.metadata) for f in fitted]
            write_tiff(stream, pages)
        elif len(frames) > 1:
            assert isinstance(picture, Animation)
            _write_animation(Animation(fitted, picture.durations, picture.loop), stream, form, quality)
        else:
            _write_still(fitted[0], stream, form, quality)


@contextmanager
def _open_target(target: Place | BinaryIO, name: str) -> Iterator[BinaryIO]:
    """A stream to encode into; what went there reaches `target` whole or not at all."""
    try:
        if isinstance(target, Path) and not _is_special(target):
            if not target.parent.exists():  # a misspelt folder is not made
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            with atomic_write(target) as stream:
                yield stream
        else:
            memory = io.BytesIO()
            yield memory
            if isinstance(target, Address):
                target.write(memory.getvalue())
                return
            with target.open("wb", buffering=0) if isinstance(target, Path) else nullcontext(target) as out:
                out.write(memory.getbuffer())
                out.flush()
    except BrokenPipeError:
        raise  # nobody reads any more: not the picture's fault, and no news for the user
    except (OSError, ValueError, MemoryError, OverflowError, struct.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or "not enough memory"
        raise ImageError(f"{name}: cannot be written: {' '.join(reason.split())[:150].lower()}") from error


def _is_special(target: Path) -> bool:
    """Whether it is a pipe or a device, which must be written to, never replaced by a file."""
    try:
        mode = target.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _fit_to_format(picture: Picture, form: str, writer: Writer, name: str) -> Picture:
    """The picture as the format can hold it; a warning for each thing that has to go."""
    color, alpha = picture.color, picture.alpha
    if alpha is not None and not writer.alpha:
        _log.warning("%s: %s holds no transparency; the picture is laid on white", name, form)
        color, alpha = _flatten_on_white(color, alpha), None
    dtype = str(color.dtype)
    if dtype not in writer.dtypes:
        dtype = writer.dtypes[-1]
        _log.warning("%s: %s samples are rounded to %s, which is what %s holds", name, color.dtype, dtype, form)
        color, alpha = convert_depth(color, dtype), None if alpha is None else convert_depth(alpha, dtype)
    if dtype == "uint16" and writer.bits < 16:
        _log.warning("%s: samples are rounded to %d bits, which is what %s holds", name, writer.bits, form)
    color, profile = _meaning_of_colors(color, picture, form, name)
    exif = picture.exif
    if exif is not None and form == "JPEG" and len(exif) > _MAX_JPEG_EXIF:
        _log.warning("%s: the EXIF data are too long for JPEG and are left out", name)
        exif = None
    if (exif and not writer.exif) or (profile and not writer.icc):
        lost = [what for what, has in (("EXIF data", exif), ("colour profile", profile)) if has]
        _log.warning("%s: %s holds no %s", name, form, " and no ".join(lost))
        exif, profile = None, None
    if exif is not None:
        exif = reset_orientation(with_pixel_size(exif, picture.width, picture.height))
    if picture.metadata.software is not None and writer.exif and form != "PNG":  # which holds it as a text
        signed = with_software(exif, picture.metadata.software)
        exif = exif if form == "JPEG" and len(signed) > _MAX_JPEG_EXIF else signed
    metadata, lost = picture.metadata.fit_to(form, writer.metadata)
    if lost:
        _log.warning("%s: %s cannot hold its %s", name, form, " and ".join(lost))
    png_color = picture.png_color if form == "PNG" else ()
    return Picture(color, alpha, profile, exif, form, picture.lossless, png_color, metadata)


def _meaning_of_colors(color: Samples, picture: Picture, form: str, name: str) -> tuple[Samples, bytes | None]:
    """Samples, and the profile that says what they mean, for a format that may store gray as colour."""
    profile = picture.icc_profile
    gray = color.ndim == 2 and form not in _GRAY_AS_COLOR
    if profile is not None and (b"GRAY" if gray else b"RGB ") != profile[16:20]:
        return gray_to_srgb(color, profile, name), None
    if profile is None and picture.png_color and form != "PNG":
        encoding = from_png_chunks(dict(picture.png_color))
        if encoding is None:
            _log.warning("%s: what the PNG file says of its colours (cICP) is lost in %s", name, form)
        elif not encoding.is_srgb and color.ndim == 2 and not gray:
            return gray_to_srgb(color, encoding.icc_profile(gray=True), name), None
        elif not encoding.is_srgb:
            return color, encoding.icc_profile(gray)
    return color, profile


def _flatten_on_white(color: Samples, alpha: Samples) -> Samples:
    top = full_scale(color)
    share = alpha.astype(np.float32) / top
    share = share[:, :, None] if color.ndim == 3 else share
    mixed = color.astype(np.float32) * share + top * (1 - share)
    result: Samples = mixed if color.dtype == np.float32 else np.rint(mixed).astype(color.dtype)
    return result


def _interleave(picture: Picture) -> Samples:
    """(H, W, C) samples, alpha last."""
    color = picture.color if picture.color.ndim == 3 else picture.color[:, :, None]
    return color if picture.alpha is None else np.concatenate([color, picture.alpha[:, :, None]], axis=2)


def _write_still(picture: Picture, stream: BinaryIO, form: str, quality: int | None) -> None:
    if picture.color.dtype == np.uint16 and form == "PNG":
        write_png16(stream, _interleave(picture), _png_chunks(picture))
    elif picture.color.dtype == np.uint16 and form == "HEIF":
        _write_heif10(stream, picture, quality)
    elif picture.color.dtype == np.uint16:
        _write_pnm16(stream, picture.color)
    else:
        image = _quantize_for_gif([picture])[0] if form == "GIF" else _to_pillow(picture)
        if form in _GRAY_AS_COLOR and image.mode in ("L", "LA"):
            image = image.convert("RGB" if image.mode == "L" else "RGBA")
        _save(image, stream, form, _options(picture, form, quality))


def _png_chunks(picture: Picture) -> list[tuple[bytes, bytes]]:
    chunks = [] if picture.icc_profile else list(picture.png_color)
    if picture.icc_profile:
        chunks = [(name, content) for name, content in picture.png_color if name != b"sRGB"]
        chunks.append((b"iCCP", b"icc\0\0" + zlib.compress(picture.icc_profile)))
    if picture.exif:
        chunks.append((b"eXIf", picture.exif))
    density = png_density(picture.metadata)
    chunks += [(b"pHYs", density)] if density is not None else []
    return chunks + [(name, content) for name, content, *_ in png_notes(picture.metadata).chunks]


def _write_pnm16(stream: BinaryIO, color: Samples) -> None:
    kind = "P5" if color.ndim == 2 else "P6"
    stream.write(f"{kind}\n{color.shape[1]} {color.shape[0]}\n65535\n".encode())
    stream.write(color.astype(">u2").tobytes())


def _write_heif10(stream: BinaryIO, picture: Picture, quality: int | None) -> None:
    library = importlib.import_module("pillow_heif")
    samples = _interleave(picture)
    mode = {1: "L;16", 2: "LA;16", 3: "RGB;16", 4: "RGBA;16"}[samples.shape[2]]
    with library_errors(), warnings_ignored():
        made = library.from_bytes(mode, (picture.width, picture.height), np.ascontiguousarray(samples).tobytes())
        made.save(stream, bit_depth=10, **_options(picture, "HEIF", quality))


def _to_pillow(picture: Picture) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(picture.color if picture.alpha is None else _interleave(picture)))


_Options = dict[str, Any]


def _save(image: Image.Image, stream: BinaryIO, form: str, options: _Options) -> None:
    load_plugin(form)
    with library_errors(), warnings_ignored():  # Pillow parses EXIF data, which may not be quite sound
        image.save(stream, form, **options)


def _png_options(picture: Picture, quality: int | None) -> _Options:
    del quality
    notes = png_notes(picture.metadata)
    for name, content in picture.png_color:
        if name != b"sRGB" or not picture.icc_profile:
            notes.add(name, content)
    return {"pnginfo": notes, "compress_level": DEFLATE_LEVEL, **_profile_and_exif(picture)}


def _jpeg_options(picture: Picture, quality: int | None) -> _Options:
    # not `optimize`: Pillow then encodes into a buffer whose size it guesses, too small for noisy pictures
    options = {"quality": quality or 95, "subsampling": 0, **_profile_and_exif(picture)}
    return options | ({"exif": PREFIX + picture.exif} if picture.exif else {})


def _webp_options(picture: Picture, quality: int | None) -> _Options:
    lossless = picture.lossless if quality is None else quality == 100
    return {"quality": quality or 95, "lossless": lossless, "exact": lossless, **_profile_and_exif(picture)}


def _avif_options(picture: Picture, quality: int | None) -> _Options:
    return {"quality": quality or 90, "subsampling": "4:4:4", **_profile_and_exif(picture)}


def _jpeg2000_options(picture: Picture, quality: int | None) -> _Options:
    del picture
    if quality is None:
        return {"irreversible": False}
    return {"irreversible": True, "quality_mode": "dB", "quality_layers": [25 + quality / 4]}


def _heif_options(picture: Picture, quality: int | None) -> _Options:
    # colour in half resolution, as cameras write it: many viewers decode no other
    return {"quality": quality or 90, "chroma": "420", "icc_profile": picture.icc_profile, "exif": picture.exif}


def _jxl_options(picture: Picture, quality: int | None) -> _Options:
    lossless = picture.lossless if quality is None else quality == 100
    return {"quality": quality or 90, "lossless": lossless, "exif": picture.exif or b""}


def _profile_and_exif(picture: Picture) -> _Options:
    return {"icc_profile": picture.icc_profile, "exif": picture.exif or b""}


_OPTIONS: Final[Mapping[str, Callable[[Picture, int | None], _Options]]] = {
    "PNG": _png_options,
    "JPEG": _jpeg_options,
    "WEBP": _webp_options,
    "AVIF": _avif_options,
    "JPEG2000": _jpeg2000_options,
    "HEIF": _heif_options,
    "JXL": _jxl_options,
}
"""What Pillow is told beside the pixels, by format."""


def _options(picture: Picture, form: str, quality: int | None) -> _Options:
    return save_options(picture.metadata, form) | (_OPTIONS[form](picture, quality) if form in _OPTIONS else {})


def _write_animation(animation: Animation, stream: BinaryIO, form: str, quality: int | None) -> None:
    frames, first = animation.frames, animation.frames[0]
    if len({(frame.width, frame.height) for frame in frames}) > 1:
        raise ImageError(f"{form} holds frames of one size only; write TIFF")
    transparent = any(frame.alpha is not None for frame in frames)
    images = _quantize_for_gif(frames) if form == "GIF" else [_to_pillow(frame) for frame in frames]
    options = _options(first, form, quality)
    plays = min(animation.loop, _MAX_LOOPS)
    if form == "GIF":
        options |= {"disposal": 2 if transparent else 1} | ({} if plays == 1 else {"loop": max(plays - 1, 0)})
    else:
        options |= {"loop": plays} | ({"blend": 0} if form == "PNG" else {})
    if form in _GRAY_AS_COLOR:
        images = [image.convert("RGBA" if transparent else "RGB") for image in images]
    times = [min(duration, _MAX_DURATION[form]) for duration in animation.durations]
    rest = {"save_all": True, "append_images": images[1:], "duration": times}
    _save(images[0], stream, form, options | rest)


def _quantize_for_gif(frames: list[Picture]) -> list[Image.Image]:
    """Frames with palettes of their own; half transparent or more becomes fully so, since GIF knows nothing between."""
    made = []
    for frame in frames:
        image = _to_pillow(Picture(frame.color))
        if frame.alpha is None and image.mode == "L":
            made.append(image)
            continue
        indexed = image.convert("RGB").quantize(_GIF_COLORS)
        if frame.alpha is not None:
            palette = (indexed.getpalette() or []) + [0] * 768
            index = np.where(frame.alpha < 128, _GIF_COLORS, np.asarray(indexed)).astype(np.uint8)
            indexed = Image.fromarray(index)
            indexed.putpalette(palette[:768])
            indexed.info["transparency"] = _GIF_COLORS
        made.append(indexed)
    return made
