"""The table of image formats: their names, extensions, and what each can hold when written."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from PIL import Image, features

from mair_cli.errors import UsageError


@dataclass(frozen=True)
class Writer:
    """What a format can hold when we write it.

    Attributes:
        extensions: those it is known by, the first one is given to new files.
        dtypes: types of samples, from the plainest to the deepest.
        bits: most bits that are kept of a uint16 sample.
        alpha, icc, exif: whether it holds transparency, a colour profile, EXIF data.
        metadata: which others it holds, of "dpi", "xmp", "iptc", "texts" and "comment" (one text).
        frames: whether it holds several pictures.
        largest: longest side in pixels.
        feature: what Pillow must have been built with; None for what it always has.
    """

    extensions: tuple[str, ...]
    dtypes: tuple[str, ...] = ("uint8",)
    bits: int = 16
    alpha: bool = True
    icc: bool = True
    exif: bool = True
    metadata: frozenset[str] = frozenset()
    frames: bool = False
    largest: int = 2**31 - 1
    feature: str | None = None


_DEEP: Final = ("uint8", "uint16")

DEFLATE_LEVEL: Final = 4
"""How hard PNG and TIFF are compressed: level 6, the usual one, makes photographs 4 % smaller in 2.6 times the time."""

WRITERS: Final[Mapping[str, Writer]] = MappingProxyType(
    {
        "PNG": Writer((".png", ".apng"), _DEEP, metadata=frozenset({"dpi", "xmp", "texts"}), frames=True),
        "JPEG": Writer(
            (".jpg", ".jpeg", ".jpe", ".jfif"),
            alpha=False,
            metadata=frozenset({"dpi", "xmp", "iptc", "comment"}),
            largest=65500,
            feature="jpg",
        ),
        "WEBP": Writer((".webp",), metadata=frozenset({"xmp"}), frames=True, largest=16383, feature="webp"),
        "TIFF": Writer((".tiff", ".tif"), (*_DEEP, "float32"), metadata=frozenset({"dpi", "xmp", "iptc"}), frames=True),
        "AVIF": Writer((".avif", ".avifs"), metadata=frozenset({"xmp"}), frames=True, largest=65536, feature="avif"),
        "GIF": Writer((".gif",), icc=False, exif=False, metadata=frozenset({"comment"}), frames=True, largest=65535),
        "BMP": Writer((".bmp", ".dib"), alpha=False, icc=False, exif=False, metadata=frozenset({"dpi"})),
        "PPM": Writer((".ppm", ".pgm", ".pnm", ".pbm"), _DEEP, alpha=False, icc=False, exif=False),
        "JPEG2000": Writer((".jp2", ".j2k", ".jpx", ".jpf"), icc=False, exif=False, feature="jpg_2000"),
        "TGA": Writer((".tga",), icc=False, exif=False, largest=65535),
        "HEIF": Writer((".heic", ".heif", ".hif"), _DEEP, bits=10, metadata=frozenset({"xmp"}), largest=16384),
        "JXL": Writer((".jxl",), icc=False, metadata=frozenset({"xmp"})),
    }
)
"""Formats that can be written, by name."""

PLUGINS: Final[Mapping[str, str]] = MappingProxyType({"HEIF": "pillow_heif", "JXL": "pillow_jxl", "RAW": "rawpy"})
"""Modules of the extra `formats`, by the format that each is for."""

RAW_EXTENSIONS: Final = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".fff", ".iiq", ".kdc", ".mef", ".mos", ".mrw"),
    *(".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".rwl", ".sr2", ".srf", ".srw"),
)
"""What camera makers call their raw files."""

FORMATS: Final[Mapping[str, str]] = MappingProxyType(
    {extension: name for name, writer in WRITERS.items() for extension in writer.extensions}
    | {".ico": "ICO", ".mpo": "MPO", ".pcx": "PCX", ".pfm": "PPM", ".psd": "PSD", ".qoi": "QOI", ".sgi": "SGI"}
    | dict.fromkeys(RAW_EXTENSIONS, "RAW")
)
"""Extensions, in lower case and with the dot, of files that can be read, and the name of the format each stands for."""

READABLE: Final = (
    *("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "DIB", "AVIF", "PPM"),
    *("JPEG2000", "TGA", "QOI", "PSD", "ICO", "PCX", "SGI"),
)
"""What Pillow may open (MPO by way of JPEG). Its other readers are left out: some call programs (EPS), some are long
forgotten."""

_ALIASES: Final = {"HEIC": "HEIF", "JPG": "JPEG", "TIF": "TIFF", "JP2": "JPEG2000", "APNG": "PNG"}


INSTALL_PLUGINS: Final = 'pip install "mair-cli[formats]"'
"""The way out where a plug-in is missing."""


def plugin_missing(form: str) -> bool:
    """Whether a format needs a plug-in that is not installed."""
    module = PLUGINS.get(form)
    return module is not None and importlib.util.find_spec(module) is None


def load_plugin(form: str) -> None:
    """Teach Pillow a format that it does not know by itself; nothing happens the second time."""
    plugin = PLUGINS.get(form)
    if plugin is not None and form not in Image.OPEN:
        module = importlib.import_module(plugin)
        if form == "HEIF":
            module.register_heif_opener()


def writable_format(name: str) -> str:
    """The format meant by a name or an extension in any case: "jpg", ".tif", "JPEG", "webp".

    Returns:
        A key of `WRITERS`.

    Raises:
        UsageError: no such format can be written, or not with the Pillow that is installed.
    """
    plain = name.strip().lower().removeprefix(".")
    format_ = FORMATS.get(f".{plain}", _ALIASES.get(plain.upper(), plain.upper()))
    if format_ not in WRITERS:
        known = ", ".join(writer.extensions[0][1:] for writer in WRITERS.values())
        raise UsageError(f"images cannot be written as {name!r}; formats: {known}")
    if plugin_missing(format_):
        raise UsageError(f"writing {format_} needs a plug-in: {INSTALL_PLUGINS}")
    feature = WRITERS[format_].feature
    if feature is not None and not features.check(feature):
        raise UsageError(f"the installed Pillow cannot write {format_}: choose another format, or reinstall Pillow")
    return format_


def extension_for(format: str) -> str:  # noqa: A002 - the word users know it by
    """The usual extension, with the dot, of a format that can be written. Raises UsageError as `writable_format`."""
    return WRITERS[writable_format(format)].extensions[0]


def default_format(source_format: str, lossless: bool, *, dtype: str = "uint8", animated: bool = False) -> str:
    """The format for a result when the user names none.

    PNG for lossless or unknown inputs, and where the own format can hold no profile; the input's own format otherwise.
    An animation keeps its format, since few hold one, and so do samples that PNG cannot hold (floats: TIFF); deep
    samples never go to a format of fewer bits.

    Args:
        source_format: name of the input's format, as in `Picture.format`.
        lossless: whether the input held its samples without loss.
        dtype: type of the samples, "uint8", "uint16" or "float32".
        animated: whether there are several frames.
    """
    own = "JPEG" if source_format == "MPO" else source_format
    writer = WRITERS.get(own)
    if animated and writer is not None and writer.frames and _available(writer):
        return own
    if dtype == "float32":
        return "TIFF"
    deep = dtype == "uint16"
    holds = writer is not None and dtype in writer.dtypes and not (deep and writer.bits < 16)
    keeps = holds and writer is not None and writer.icc and writer.exif and _available(writer)
    if lossless or not keeps:
        return "PNG"
    return own


def _available(writer: Writer) -> bool:
    return writer.feature is None or bool(features.check(writer.feature))
