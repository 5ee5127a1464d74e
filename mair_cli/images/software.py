"""Which program made a picture, as its file tells: so that results of ours are known again under any name.

It is kept where nothing of the user's stands: not in the EXIF tag Software, which tells of the camera, but in
ProcessingSoftware (0x000B of the first directory), and in PNG files in a text of that name.
"""

from __future__ import annotations

import struct
from typing import Final

from mair_cli.images.exif import append_entry, text_entry

KEYWORD: Final = "ProcessingSoftware"
"""The keyword of a PNG text, and the name of the EXIF tag."""

TAG: Final = 0x000B
_EMPTY: Final = b"II*\0" + struct.pack("<LHL", 8, 0, 0)


def software_of_exif(exif: bytes | None) -> str | None:
    """What EXIF data tell (without prefix)."""
    return text_entry(exif, TAG) if exif else None


def with_software(exif: bytes | None, software: str) -> bytes:
    """EXIF data that tell it; new ones where there were none."""
    return append_entry(exif or _EMPTY, TAG, software.encode("ascii", "replace") + b"\0")
