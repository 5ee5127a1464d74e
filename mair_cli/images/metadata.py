"""What a picture says about itself beside EXIF data and profile: resolution, XMP, IPTC, comments and other texts."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, replace
from typing import Any, Final

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile, PngInfo

from mair_cli.images.software import KEYWORD

COMMENT: Final = "Comment"
"""The keyword of PNG texts under which comments of JPEG and GIF files are kept."""

_XMP_KEYWORD: Final = "XML:com.adobe.xmp"
_IPTC_RESOURCE: Final = 0x0404
_ORIENTATION: Final = re.compile(rb"(tiff:Orientation\s*(?:=\s*[\"']|>\s*))[1-8]")
_USUAL_DPI: Final = (72, 96)  # what programs write where nobody chose anything
_MAX_SEGMENT: Final = 65_533  # bytes in one segment of a JPEG file
_MAX_JPEG_XMP: Final = _MAX_SEGMENT - 29


@dataclass(frozen=True)
class Metadata:
    """What is kept of a file's metadata.

    Attributes:
        dpi: pixels per inch, across and down.
        xmp: an XMP packet.
        iptc: IPTC-IIM records.
        texts: keywords and texts, as PNG has them; comments under "Comment".
        software: the program that made the picture out of another, such as this one; kept where the format can.
    """

    dpi: tuple[float, float] | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    texts: tuple[tuple[str, str], ...] = ()
    software: str | None = None

    @property
    def comment(self) -> str | None:
        """The first comment."""
        return dict(reversed(self.texts)).get(COMMENT)

    def upright(self) -> Metadata:
        """The same for a picture whose orientation has been applied."""
        return self if self.xmp is None else replace(self, xmp=_ORIENTATION.sub(rb"\g<1>1", self.xmp))

    def fit_to(self, form: str, held: frozenset[str]) -> tuple[Metadata, list[str]]:
        """What a format holds of it, and the names of what it does not. `held` as in `formats.Writer`."""
        kept, lost = self, []
        if self.dpi is not None and "dpi" not in held:
            kept = replace(kept, dpi=None)
            lost += [] if round(self.dpi[0]) in _USUAL_DPI else ["resolution"]
        if self.xmp is not None and ("xmp" not in held or (form == "JPEG" and len(self.xmp) > _MAX_JPEG_XMP)):
            kept, lost = replace(kept, xmp=None), [*lost, "XMP"]
        if self.iptc is not None and ("iptc" not in held or (form == "JPEG" and len(self.iptc) > _MAX_SEGMENT - 28)):
            kept, lost = replace(kept, iptc=None), [*lost, "IPTC"]
        if "texts" not in held:
            comment = self.comment if "comment" in held else None
            if comment is not None and len(comment.encode()) > _MAX_SEGMENT:
                comment = None
            kept = replace(kept, texts=() if comment is None else ((COMMENT, comment),))
            lost += ["texts"] if len(kept.texts) < len(self.texts) else []
        return kept, lost


def read_metadata(image: Image.Image) -> Metadata:
    """The metadata of a picture that Pillow has opened and decoded (PNG has some of them after the pixels)."""
    info = image.info
    xmp, comment, photoshop = info.get("xmp"), info.get("comment"), info.get("photoshop")
    texts = []
    if isinstance(image, PngImageFile):
        ours = ("Raw profile", "XML:com", KEYWORD)  # which are kept elsewhere
        texts = [(key, str(text)) for key, text in image.text.items() if not key.startswith(ours)]
    elif comment and image.format in ("JPEG", "MPO", "GIF"):  # in others it is the encoder's
        texts = [(COMMENT, comment.decode("utf-8", "replace") if isinstance(comment, bytes) else str(comment))]
    software = info.get(KEYWORD)
    return Metadata(
        software=None if software is None else str(software),
        dpi=_dpi(image),
        xmp=xmp if isinstance(xmp, bytes) and xmp else None,
        iptc=photoshop.get(_IPTC_RESOURCE) if isinstance(photoshop, dict) else None,
        texts=tuple(texts),
    )


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    if isinstance(image, JpegImageFile) and image.info.get("jfif_unit") not in (1, 2):
        return None  # Pillow's guess, or from EXIF data, which are kept anyway
    found = image.info.get("dpi")
    if not isinstance(found, tuple) or len(found) != 2 or not all(0 < float(value) < 1e5 for value in found):
        return None
    return float(found[0]), float(found[1])


def png_notes(metadata: Metadata) -> PngInfo:
    """Text chunks for a PNG file; the resolution is not among them."""
    notes = PngInfo()
    if metadata.xmp is not None:
        notes.add_itxt(_XMP_KEYWORD, metadata.xmp.decode("utf-8", "replace"))
    for key, text in metadata.texts:
        notes.add_text(key[:79], text)
    if metadata.software is not None:
        notes.add_text(KEYWORD, metadata.software)
    return notes


def png_density(metadata: Metadata) -> bytes | None:
    """Content of the pHYs chunk."""
    if metadata.dpi is None:
        return None
    return struct.pack(">LLB", *(round(value / 0.0254) for value in metadata.dpi), 1)


def save_options(metadata: Metadata, form: str) -> dict[str, Any]:
    """What to tell Pillow when it writes a file with them, except for PNG's texts."""
    options: dict[str, Any] = {}
    if metadata.dpi is not None:
        options["dpi"] = metadata.dpi if form == "PNG" else tuple(round(value) for value in metadata.dpi)
    if metadata.xmp is not None and form != "PNG":
        options["xmp"] = metadata.xmp
    if metadata.comment is not None and form != "PNG":
        options["comment"] = metadata.comment.encode()
    if metadata.iptc is not None:
        records = metadata.iptc + bytes(len(metadata.iptc) % 2)
        content = b"Photoshop 3.0\x008BIM" + struct.pack(">HHL", _IPTC_RESOURCE, 0, len(metadata.iptc)) + records
        options["extra"] = b"\xff\xed" + struct.pack(">H", len(content) + 2) + content
    return options
