"""Which file is what: its format, size and depth from its first bytes, checked before any library opens it."""

from __future__ import annotations

import logging
import math
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, Final

from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from mair_cli.errors import ImageError
from mair_cli.images import headers
from mair_cli.images.color_encoding import ColorEncoding, from_code_points
from mair_cli.images.exif import orientation_of, strip_prefix
from mair_cli.images.formats import INSTALL_PLUGINS, READABLE, WRITERS, load_plugin, plugin_missing
from mair_cli.images.guard import Limit, check_memory, library_errors, pillow_pixel_limit
from mair_cli.images.jpeg_quality import jpeg_quality
from mair_cli.images.jxl_header import SIGNATURES, JxlHeader, read_jxl_header
from mair_cli.images.metadata import Metadata, read_metadata
from mair_cli.images.raw import BYTES_PER_PIXEL as RAW_BYTES
from mair_cli.images.raw import is_raw, read_raw_header
from mair_cli.images.software import KEYWORD, software_of_exif
from mair_cli.images.tiff_tags import read_tags

_log = logging.getLogger(__name__)

_HEADER_BYTES: Final = 1 << 16
_MAX_DEFLATE_RATIO: Final = 1040  # no deflate stream unpacks to more times its own length
_MAX_LZW_RATIO: Final = 2731  # nor one of GIF's: 4096 pixels for 12 bits
_OPENING_BYTES: Final = 16  # memory per pixel of the canvas that opening a GIF or WebP file takes
_JXL_SRGB: Final = tuple(name.encode("utf-16-be") for name in ("sRGB", "Gra_D65_Rel_SRG"))
"""What the library calls the profile that it writes for a picture which only says that it is sRGB."""

_JXL_BYTES: Final = 40  # memory per pixel that decoding JPEG XL takes: floats, and copies of the samples
_MAX_SCANS: Final = 100  # of a progressive JPEG file, each of which takes as long as a picture; encoders make about ten
_HARMLESS_CANVAS: Final = 1 << 26  # below this, a canvas that is mostly empty does no harm
_LOSSY: Final = frozenset({"JPEG", "MPO", "AVIF", "JPEG2000", "HEIF"})
_ANIMATED: Final = frozenset({"GIF", "PNG", "WEBP", "AVIF"})
_TIFF_STARTS: Final = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_PLUGIN_SIGNATURES: Final = (
    (4, (b"ftyphei", b"ftyphev", b"ftypmif1", b"ftypmsf1"), "HEIF"),
    (0, SIGNATURES, "JXL"),
)
_UNSUPPORTED_SIGNATURES: Final = (
    (0, (b"\x76\x2f\x31\x01",), "OpenEXR"),
    (0, (b"\xff\xd8\xff\xf7",), "JPEG-LS"),
    (0, (b"%PDF", b"%!PS"), "PDF or PostScript"),
    (0, (b"<svg", b"<?xml"), "SVG or XML"),
)


@dataclass
class ImageFile:
    """An image file of which the header has been read.

    `image` is Pillow's view of it, None where Pillow cannot open it. At most one of `png`, `pages`, `pnm` and `bits`
    says by what other way the pixels are decoded; "RAW" files have one of their own. `told_profile` and `told_exif` are
    what Pillow does not look for.
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
    jxl: JxlHeader | None = None
    bits: int = 8
    told_profile: bytes | None = None
    told_exif: bytes | None = None
    truncated: bool = False

    @property
    def info(self) -> dict[str | tuple[int, int], object]:
        """What Pillow found beside the pixels."""
        return self.image.info if self.image is not None else {}

    @property
    def decoding_bytes(self) -> int:
        """About how much memory decoding takes at most: what is kept of each frame, and copies of one on the way."""
        if self.format == "RAW":
            return self.width * self.height * RAW_BYTES
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
        if not isinstance(found, bytes) or len(found) <= 128:
            return None
        made_up = self.format == "JXL" and found[4:8] == b"jxl " and any(name in found for name in _JXL_SRGB)
        return None if made_up else found

    @property
    def exif(self) -> bytes | None:
        """EXIF data without prefix, not yet made upright. Some formats give them only after the pixels."""
        found = self.info.get("exif") or self.told_exif
        if found is None and self.image is not None and "Raw profile type exif" in self.info:
            with library_errors():
                found = self.image.getexif().tobytes()
        return strip_prefix(found) if isinstance(found, bytes) and found else None

    @property
    def metadata(self) -> Metadata:
        """What else the file tells of its picture once that is decoded; pages of a TIFF file have their own.

        In an animated PNG, asking for it goes to the last frame and back.
        """
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
    def software(self) -> str | None:
        """The program that made the (first) picture out of another, as far as that is known before decoding."""
        if self.pages:
            return software_of_exif(read_tags(self.stream, self.pages[0][1], self.name).exif)
        text = self.info.get(KEYWORD)
        return str(text) if text is not None else software_of_exif(self.exif)

    @property
    def first_orientation(self) -> int:
        """Orientation still to be applied to the first frame, as far as it is known before decoding."""
        if self.format in ("HEIF", "RAW") or (self.format == "JXL" and not getattr(self.image, "jpeg", False)):
            return 1  # the decoder has applied what the file says beside its EXIF data
        return self.pages[0][1].orientation if self.pages else orientation_of(self.exif)


def read_header(stream: BinaryIO, name: str, limit: Limit) -> ImageFile:
    """What the file holds, and how it has to be decoded. Raises ImageError, or what `guard.DAMAGE` names."""
    head = stream.read(_HEADER_BYTES)
    if not head:
        raise ImageError(f"{name}: the file is empty")
    if is_raw(head, stream, name):
        return _read_raw_header(stream, name, limit)
    if head.startswith(_TIFF_STARTS):
        return _read_tiff_header(stream, name, limit)
    png = headers.read_png_header(stream) if head.startswith(headers.PNG_SIGNATURE) else None
    _check_canvas(head, png, stream, name, limit)
    plugin = _starts(head, _PLUGIN_SIGNATURES)
    jxl = _read_jxl(stream, name, limit) if plugin == "JXL" else None
    readable = list(READABLE)
    if plugin is not None and not plugin_missing(plugin):
        load_plugin(plugin)
        readable.append(plugin)
    stream.seek(0)
    try:
        with library_errors(), pillow_pixel_limit(limit.input_pixels):
            Image.init()
            image = Image.open(stream, formats=[kind for kind in readable if kind in Image.OPEN])
            pictures = int(getattr(image, "n_frames", 1))  # counted in the file by some readers
    except UnidentifiedImageError:
        if plugin is not None and plugin_missing(plugin):
            raise ImageError(f"{name}: reading {plugin} files needs a plug-in: {INSTALL_PLUGINS}") from None
        if (kind := _starts(head, _UNSUPPORTED_SIGNATURES)) is not None:
            raise ImageError(f"{name}: {kind} files are not read; convert it, say to PNG") from None
        raise
    form = {"DIB": "BMP"}.get(image.format or "", image.format or "")
    file = ImageFile(name, stream, form, *image.size, image=image, jxl=jxl, lossless=form not in _LOSSY)
    limit.check(*image.size, 1, name)
    if image.info.get("progressive") and headers.jpeg_scans(stream, _MAX_SCANS + 1) > _MAX_SCANS:
        raise ImageError(f"{name}: it has more than {_MAX_SCANS} scans, which no encoder makes")
    if form in _ANIMATED:
        file.frames = pictures - bool(image.info.get("default_image"))
    elif pictures > 1 and form in ("MPO", "HEIF"):
        _log.warning("%s: only the first of its pictures is read", name)
    limit.check(file.width, file.height, file.frames, name)
    _choose_decoder(file, png, head)
    return file


def _read_raw_header(stream: BinaryIO, name: str, limit: Limit) -> ImageFile:
    header = read_raw_header(stream, name)
    limit.check(header.width, header.height, 1, name)
    return ImageFile(name, stream, "RAW", header.width, header.height, dtype="uint16", bits=16, told_exif=header.exif)


def _starts(head: bytes, signatures: tuple[tuple[int, tuple[bytes, ...], str], ...]) -> str | None:
    """The kind of file whose signature stands in the beginning."""
    return next((kind for at, starts, kind in signatures if head[at : at + 12].startswith(starts)), None)


def _read_jxl(stream: BinaryIO, name: str, limit: Limit) -> JxlHeader:
    """The header of a JPEG XL file, checked here since its library decodes as it opens."""
    header = read_jxl_header(stream)
    limit.check(header.width, header.height, 1, name)
    check_memory(header.width * header.height * _JXL_BYTES, name)
    if header.animated or header.floating:
        kind = "animated JPEG XL is" if header.animated else "JPEG XL with floats is"
        raise ImageError(f"{name}: {kind} not read; convert it, say to PNG or TIFF")
    return header


def _check_canvas(head: bytes, png: headers.PngHeader | None, stream: BinaryIO, name: str, limit: Limit) -> None:
    """Refuse what takes too much memory when it is merely opened, or is too short for what it claims to be."""
    if png is not None:
        limit.check(png.width, png.height, 1, name)
        if png.decoded_bytes > _MAX_DEFLATE_RATIO * file_size(stream):
            raise ImageError(f"{name}: cannot be read: the file is too short for {png.width}×{png.height} pixels")
    gif = head[:3] == b"GIF"
    canvas = headers.gif_size(head) if gif else headers.webp_size(head) if head[:4] == b"RIFF" else None
    if canvas is None:
        return
    limit.check(*canvas, 1, name)
    size, pixels = f"{canvas[0]}×{canvas[1]}", math.prod(canvas)
    if not gif and max(canvas) > WRITERS["WEBP"].largest:
        raise ImageError(f"{name}: cannot be read: no WebP picture has {size} pixels")
    if gif and pixels > max(_HARMLESS_CANVAS, _MAX_LZW_RATIO * file_size(stream)):
        raise ImageError(f"{name}: cannot be read: the file is too short for {size} pixels")
    check_memory(pixels * _OPENING_BYTES, name)


def file_size(stream: BinaryIO) -> int:
    """Bytes of a stream; it stands at its end then."""
    return stream.seek(0, os.SEEK_END)


def _choose_decoder(file: ImageFile, png: headers.PngHeader | None, head: bytes) -> None:
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
    elif file.format == "HEIF":
        file.bits = int(image.info.get("bit_depth") or 8)
        file.told_profile = _profile_by_code_points(headers.avif_code_points(head), file.name)
    elif file.jxl is not None:
        file.bits = file.jxl.bits
        file.lossless = file.jxl.lossless and not getattr(image, "jpeg", False)
        if file.jxl.xmp:
            image.info["xmp"] = file.jxl.xmp
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


def _read_tiff_header(stream: BinaryIO, name: str, limit: Limit) -> ImageFile:
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
    return ImageFile(name, stream, "TIFF", first.width, first.height, len(pages), dtype, lossless, image, pages=pages)
