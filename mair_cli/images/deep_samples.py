"""Deep samples of TIFF, AVIF, HEIF, JPEG 2000, JPEG XL and PNM files, which Pillow would shorten or cannot open.

TIFF needs tifffile and imagecodecs, AVIF, JPEG 2000 and JPEG XL need imagecodecs: together the extra `depth`. HEIF
needs the extra `formats` alone. Without them such files are refused. The functions raise ImageError for what is
refused, ValueError or OSError for damaged files.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt

from mair_cli.errors import ImageError
from mair_cli.images.guard import library_errors
from mair_cli.images.headers import PnmHeader, TiffPage
from mair_cli.images.picture import Samples, full_scale

_MISSING: Final = 'needs two more libraries: pip install "mair-cli[depth]"'


_DECODERS: Final[Mapping[str, tuple[str, str, Mapping[str, object]]]] = {
    "AVIF": ("AVIF", "avif_decode", {"numthreads": 1}),
    "HEIF": ("HEIF", "open_heif", {"convert_hdr_to_8bit": False, "hdr_to_16bit": False}),
    "JPEG2000": ("JPEG 2000", "jpeg2k_decode", {}),
    "JXL": ("JPEG XL", "jpegxl_decode", {"numthreads": 1}),
}
"""Of formats with deep samples: what people call them, the library's function, and its options."""


def _library(module: str, name: str, what: str) -> ModuleType:
    """An optional module; ImageError naming the file `name` and the way to get it where it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ImageError(f"{name}: {what} {_MISSING}") from None


def read_tiff_page(stream: BinaryIO, index: int, page: TiffPage, name: str) -> tuple[Samples, Samples | None]:
    """Decode one page of a TIFF file with all bits of its samples.

    Args:
        stream: the file, seekable.
        index: number of the page, from 0.
        page: what its directory says.
        name: the file's name, for errors.

    Returns:
        color (H, W) or (H, W, 3) and alpha (H, W) or None: uint8, uint16, or float32 in [0, 1]; not turned upright.
        Colour stays as stored except that 0 is made black; CMYK has (H, W, 4) samples.

    Raises:
        ImageError: samples of a kind that is not read, or the extra is missing.
    """
    _check_supported(page, name)
    what = f"TIFF with {page.samples} × {page.bits} bits per pixel"
    tifffile = _library("tifffile", name, what)
    _library("imagecodecs", name, what)
    stream.seek(0)
    with library_errors(), tifffile.TiffFile(stream) as file:
        found = file.pages[index]
        if (found.imagewidth, found.imagelength) != (page.width, page.height) or (
            found.size > page.width * page.height * page.samples
            or np.prod(found.chunks) > 4 * (page.width + 4096) * (page.height + 4096) * page.samples
        ):
            raise ValueError("its header contradicts itself")
        stored = found.asarray(maxworkers=1)
        planes = int(found.planarconfig) == 2 and page.samples > 1
    pixels = (page.samples, page.height, page.width) if planes else (page.height, page.width, page.samples)
    stored = stored.reshape(pixels)
    stored = np.moveaxis(stored, 0, -1) if planes else stored
    return _split_tiff(_to_full_range(stored, page, name), page, name)


def _check_supported(page: TiffPage, name: str) -> None:
    kinds = {2: "signed integers", 5: "complex integers", 6: "complex numbers"}
    if page.kind in kinds or page.kind not in (1, 3):
        raise ImageError(
            f"{name}: its samples are {kinds.get(page.kind, 'of an unknown kind')}, not those of a picture"
        )
    if page.kind == 1 and page.bits > 16:
        raise ImageError(f"{name}: TIFF with {page.bits}-bit integers is not read; save it with 16 bits or as floats")
    if page.photometric not in (0, 1, 2, 5):
        kind = {3: "palette", 6: "YCbCr", 8: "Lab", 9: "Lab", 10: "Lab", 32803: "raw camera"}
        of = kind.get(page.photometric, f"photometric {page.photometric}")
        raise ImageError(f"{name}: TIFF with {page.bits}-bit {of} colours is not read; save it as RGB")


def _to_full_range(stored: npt.NDArray[np.generic], page: TiffPage, name: str) -> Samples:
    """Samples spread over the whole range of their type, floats checked to lie in [0, 1]."""
    if page.kind == 3:
        return check_unit_range(stored.astype(np.float32), name)
    if page.bits == 8:
        return stored.astype(np.uint8)
    if page.bits == 16:
        return stored.astype(np.uint16)
    return scale_to_16_bits(stored.astype(np.uint16), 2**page.bits - 1)


def check_unit_range(samples: npt.NDArray[np.float32], name: str) -> npt.NDArray[np.float32]:
    """The samples, if all lie in [0, 1]; ImageError otherwise."""
    low, high = float(samples.min()), float(samples.max())
    if not (low >= 0 and high <= 1):  # also catches NaN
        raise ImageError(f"{name}: its samples go from {low:.4g} to {high:.4g}; floats must lie in [0, 1]")
    return samples


def scale_to_16_bits(samples: npt.NDArray[np.uint16], largest: int) -> npt.NDArray[np.uint16]:
    """Spread 0..`largest` over 0..65535, rounded; greater ones are cut off."""
    if largest == 65535:
        return samples
    cut = np.minimum(samples, largest).astype(np.uint32)
    return ((cut * 65535 + largest // 2) // largest).astype(np.uint16)


def _split_tiff(samples: Samples, page: TiffPage, name: str) -> tuple[Samples, Samples | None]:
    """Colour and alpha of interleaved samples (H, W, C)."""
    base = {0: 1, 1: 1, 2: 3, 5: 4}[page.photometric]
    if page.samples < base:
        raise ImageError(f"{name}: its header names {page.samples} samples for {base} colours")
    color = np.ascontiguousarray(samples[:, :, :base])
    meaning = page.extra[0] if page.extra and page.samples > base else 0
    alpha = np.ascontiguousarray(samples[:, :, base]) if meaning in (1, 2) else None
    if meaning == 1 and alpha is not None:
        color = _unpremultiply(color, alpha)
    if page.photometric == 0:
        color = invert(color)
    return (color[:, :, 0] if base == 1 else color), alpha


def invert(samples: Samples) -> Samples:
    """Black for white."""
    result: Samples = (full_scale(samples).astype(samples.dtype) - samples).astype(samples.dtype)
    return result


def _unpremultiply(color: Samples, alpha: Samples) -> Samples:
    top = full_scale(alpha)
    whole = color.astype(np.float32) * top / np.maximum(alpha, np.float32(1e-6))[:, :, None]
    whole = np.where(alpha[:, :, None] > 0, whole, 0).clip(0, top)
    return whole if alpha.dtype == np.float32 else np.rint(whole).astype(alpha.dtype)


def read_deep(form: str, data: bytes, bits: int, size: tuple[int, int], name: str) -> tuple[Samples, Samples | None]:
    """Decode a whole AVIF, HEIF, JPEG 2000 or JPEG XL still of 9 to 16 bits.

    Args:
        form: the format, as in `formats.WRITERS`.
        data: the file.
        bits: per sample.
        size: (width, height).
        name: the file's name, for errors.

    Returns:
        uint16 color and alpha.
    """
    called, decoder, options = _DECODERS[form]
    what = f"{called} with {bits} bits per sample"
    if bits > 16:
        raise ImageError(f"{name}: {what} is not read; save it with 16")
    library = _library("pillow_heif" if form == "HEIF" else "imagecodecs", name, what)
    with library_errors():
        stored = np.asarray(getattr(library, decoder)(data, **options))
    return _split_alpha(stored, bits, size)


def _split_alpha(stored: npt.NDArray[np.uint16], bits: int, size: tuple[int, int]) -> tuple[Samples, Samples | None]:
    if stored.shape[:2] != (size[1], size[0]) or stored.ndim > 3 or stored.dtype != np.uint16:
        raise ValueError("its header contradicts itself")
    samples = scale_to_16_bits(stored.reshape(size[1], size[0], -1), 2**bits - 1)
    color, alpha = samples, None
    if samples.shape[2] in (2, 4):
        color, alpha = samples[:, :, :-1], np.ascontiguousarray(samples[:, :, -1])
    color = np.ascontiguousarray(color)
    return (color[:, :, 0] if color.shape[2] == 1 else color), alpha


def read_pnm(stream: BinaryIO, header: PnmHeader) -> Samples:
    """Decode a portable graymap or pixmap of more than 255 levels.

    Returns:
        (H, W) or (H, W, 3) uint16 over the whole range.
    """
    channels = 3 if header.kind in ("P3", "P6") else 1
    count = header.width * header.height * channels
    stream.seek(header.start)
    if header.kind in ("P5", "P6"):
        data = stream.read(2 * count)
        if len(data) < 2 * count:
            raise ValueError(f"its pixels end early, after {len(data)} of {2 * count} bytes")
        values = np.frombuffer(data, ">u2").astype(np.uint16)
    else:
        words = stream.read(12 * count + 65536).split(maxsplit=count)[:count]
        values = np.array([int(word) for word in words if len(word) < 6], np.uint32).clip(0, 65535).astype(np.uint16)
        if values.size < count:
            raise ValueError(f"its pixels end early, after {values.size} of {count} samples")
    if not 0 < header.largest <= 65535:
        raise ValueError("its greatest value makes no sense")
    shape = (header.height, header.width, 3) if channels == 3 else (header.height, header.width)
    return scale_to_16_bits(values, header.largest).reshape(shape)
