"""The page: its HTML and script, the tasks it offers, and pictures as browsers can show them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from mair_cli.benchmark.page import render
from mair_cli.errors import MairError, WeightsNotFoundError
from mair_cli.images.formats import FORMATS, WRITERS, plugin_missing
from mair_cli.images.io import ImageInfo, as_rgb8, read_picture
from mair_cli.images.picture import Animation
from mair_cli.tasks import TASKS, Task
from mair_cli.weights.choice import select

_SHOWN_BY_BROWSERS: Final = ("PNG", "JPEG", "WEBP", "GIF", "AVIF", "BMP")
_MOST_SHOWN: Final = 50_000_000
"""Pixels of a picture that is shown as it is; a browser takes four bytes for each."""
_PREVIEW_SIDE: Final = 4096


@dataclass(frozen=True)
class Offer:
    """A task as the page offers it; `problem` says why it cannot be had here, with the way out."""

    task: Task
    problem: str | None

    @property
    def verb(self) -> str:
        """What a button says."""
        return self.task.verb or self.task.label


def offers() -> list[Offer]:
    """Every task, and whether weights for it are here."""
    return [Offer(task, _problem(task)) for task in TASKS.values()]


def _problem(task: Task) -> str | None:
    try:
        select(task.name)
    except WeightsNotFoundError as error:
        return str(error)
    return None


def html(most_bytes: int) -> str:
    """The page."""
    formats = [writer.extensions[0][1:] for name, writer in WRITERS.items() if not plugin_missing(name)]
    extensions = sorted(extension for extension, name in FORMATS.items() if not plugin_missing(name))
    here = offers()
    missing = [offer for offer in here if offer.problem]
    values = {
        "offers": here,
        "missing": missing,
        "formats": formats,
        "extensions": extensions,
        "most_bytes": most_bytes,
    }
    return render("serve.html", __package__, title="mair", **values)


def script() -> str:
    """The page's script."""
    return render("serve.js", __package__)


def content_type(info: ImageInfo) -> str:
    """Of a picture file."""
    return Image.MIME.get(info.format, "application/octet-stream")


def shown_as_it_is(info: ImageInfo) -> bool:
    """Whether browsers can show a file of this kind."""
    return info.format in _SHOWN_BY_BROWSERS and info.width * info.height * info.frames <= _MOST_SHOWN


def preview(path: Path, name: str) -> bytes:
    """The first frame of any picture file as WebP, sides up to 4096. Raises ImageError."""
    image = read_picture(path, name, allow_truncated=True)
    first = image.frames[0] if isinstance(image, Animation) else image
    shown = Image.fromarray(np.ascontiguousarray(as_rgb8(first.color)))
    shown.thumbnail((_PREVIEW_SIDE, _PREVIEW_SIDE))
    stream = io.BytesIO()
    try:
        shown.save(stream, "WEBP", quality=92, method=1, icc_profile=first.icc_profile or b"")
    except OSError as error:
        raise MairError(f"{name}: no preview: {error}") from error
    return stream.getvalue()
