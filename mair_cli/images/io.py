"""Image files: the public face of all that knows formats. Read, look at, write.

What is never changed silently: gray stays gray, alpha is kept beside the colour, 16 bits stay 16 bits, profiles and
EXIF data are kept, the orientation is applied. What cannot be kept is refused, or left out with a warning in the log.
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from mair_cli.errors import ImageError
from mair_cli.images.formats import FORMATS, WRITERS, default_format, extension_for, writable_format
from mair_cli.images.guard import DEFAULT_MAX_OUTPUT_PIXELS, Limit
from mair_cli.images.picture import Animation, ImageInfo, Picture, Samples, as_rgb8, convert_depth
from mair_cli.images.read import read, read_info
from mair_cli.images.write import write
from mair_cli.store.remote import Place

__all__ = [
    "DEFAULT_MAX_OUTPUT_PIXELS",
    "FORMATS",
    "WRITERS",
    "Animation",
    "ImageInfo",
    "Picture",
    "Samples",
    "as_rgb8",
    "convert_depth",
    "default_format",
    "extension_for",
    "probe",
    "read_picture",
    "read_rgb8",
    "writable_format",
    "write_picture",
]


def read_picture(
    source: Place | BinaryIO,
    name: str | None = None,
    max_output_pixels: int | None = None,
    scale: int = 1,
    *,
    allow_truncated: bool = False,
) -> Picture | Animation:
    """Decode an image file: PNG, JPEG, WebP, TIFF, GIF, BMP, AVIF, PNM, JPEG 2000, TGA, ICO, QOI, PSD, PCX or SGI;
    with the extra `formats` HEIF, JPEG XL and camera raw.

    The content counts, not the name. Palettes become RGB (a palette of grays: gray), CMYK and Lab become sRGB by the
    file's profile, one bit becomes 8. Deep samples need the extra `depth`, except those of PNG and PNM files and gray
    ones. One thread decodes at a time.

    Args:
        source: a file here or elsewhere, or a binary stream (read from its start where it can seek, else to its end).
        name: what to call it in messages; default: its path, "standard input" for a stream.
        max_output_pixels: bound on width × height × frames × `scale`², checked before anything is decoded; default
            `DEFAULT_MAX_OUTPUT_PIXELS`.
        scale: by how much the picture will be enlarged.
        allow_truncated: whether a JPEG or PNG file that ends early is read as far as it goes, where that is half of the
            rows or more: the rest is black or gray, `Picture.truncated` is set and a warning logged.

    Returns:
        A picture, or an animation where the file holds several frames or pages.

    Raises:
        ImageError: the file is missing, damaged, too large, or of a kind that cannot be read in full; the message is
            one line that names it.
    """
    limit = DEFAULT_MAX_OUTPUT_PIXELS if max_output_pixels is None else max_output_pixels
    return read(source, name, Limit(limit, scale), allow_truncated)


def read_rgb8(source: Place | BinaryIO, name: str | None = None) -> npt.NDArray[np.uint8]:
    """The one still picture of a file as (H, W, 3) RGB uint8, C-contiguous, without its alpha; see `as_rgb8`.

    Raises ImageError as `read_picture` does, and for an animation.
    """
    picture = read_picture(source, name)
    if isinstance(picture, Animation):
        raise ImageError(f"{name or source}: it is an animation, and one picture is wanted")
    return as_rgb8(picture.color)


def probe(
    source: Place | BinaryIO, name: str | None = None, max_output_pixels: int | None = None, scale: int = 1
) -> ImageInfo:
    """What an image file's header says; no pixels are decoded, so the file may still turn out to be damaged.

    Takes and raises what `read_picture` does, the bound included. A stream that cannot seek is read to its end.
    """
    limit = DEFAULT_MAX_OUTPUT_PIXELS if max_output_pixels is None else max_output_pixels
    return read_info(source, name, Limit(limit, scale))


def write_picture(
    picture: Picture | Animation,
    target: Place | BinaryIO,
    format: str,  # noqa: A002 - the word users know it by
    quality: int | None = None,
) -> None:
    """Encode a picture. A file appears under its name only when it is complete: until then it has another, beside it.

    Samples deeper than the format can hold are rounded to its greatest depth; where it cannot hold transparency, the
    picture is laid on white; what else it cannot hold (profile, EXIF data) is left out. Each of these is logged as a
    warning.

    Args:
        picture: what to write. The EXIF data's width and height are set to the picture's.
        target: a file here or elsewhere, replaced if it exists, or a binary stream.
        format: a name or extension that `writable_format` knows.
        quality: 1 to 100 for JPEG (default 95, colour in full resolution), WebP (100: lossless; default: lossless for
            a picture that was lossless, else 95), JPEG XL (likewise, else 90), AVIF and HEIF (default 90) and JPEG 2000
            (default: lossless). Other formats are always lossless, but for the 256 colours of GIF.

    Raises:
        UsageError: the format cannot be written.
        ImageError: the picture does not fit the format, or the file cannot be written; no partial file is left.
    """
    write(picture, target, writable_format(format), quality)
