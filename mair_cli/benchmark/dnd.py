"""What DND's server takes: its 1000 crops, restored, in the `.mat` files of its own bundling script.

Files that are there from an interrupted run of the very same network and settings are kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from mair_cli.datasets.mat_files import dnd_crops, dnd_images, is_dnd, read_dnd, write_bundle
from mair_cli.errors import MairError, UsageError
from mair_cli.store.atomic import atomic_write

__all__ = ["NOTE_FILE", "bundle_dnd"]

NOTE_FILE = "made-by.json"
"""Says what made the files beside it; the server takes those named `0001.mat` … only."""


def bundle_dnd(
    folder: Path,
    output: Path,
    restore: Callable[[np.ndarray], np.ndarray],
    made_by: Mapping[str, object],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Restore DND and write the bundle.

    Args:
        folder: with `info.mat` and `images_srgb/`.
        output: folder for the bundle; made where needed.
        restore: (H, W, 3) RGB float32 in [0, 1] → the same.
        made_by: identifies network and settings.
        progress: called with (photographs done, photographs in all).

    Returns:
        How many photographs were restored now.

    Raises:
        UsageError: the folder is not laid out as DND is, `output` holds files of another network, or a package is
            missing.
        ImageError: a file is damaged.
        MairError: a file cannot be written.
    """
    if not is_dnd(folder):
        raise UsageError(f"{folder} is not laid out as DND is: with info.mat and images_srgb/0001.mat …")
    images, crops = dnd_images(folder), dnd_crops(folder)
    if len(images) != len(crops):
        raise UsageError(f"{folder}: info.mat has boxes for {len(crops)} photographs, but there are {len(images)}")
    try:
        _claim(output, made_by)
        written = 0
        for done, (image, boxes) in enumerate(zip(images, crops, strict=True)):
            progress(done, len(images))
            target = output / image.name
            if not target.exists():
                write_bundle(target, [restore(part).clip(0, 1) for part in read_dnd(image, boxes)])
                written += 1
        progress(len(images), len(images))
    except OSError as error:
        raise MairError(f"{output}: the bundle cannot be written ({error.strerror or error})") from error
    return written


def _claim(output: Path, made_by: Mapping[str, object]) -> None:
    """Note what makes the files of `output`; raises UsageError where something else made those that are there."""
    note = json.dumps(made_by, indent=1, sort_keys=True, default=str) + "\n"
    path = output / NOTE_FILE
    if path.is_file() and path.read_text("utf-8", "replace") == note:
        return
    if output.exists() and any(output.iterdir()):
        raise UsageError(f"{output} holds other files, which may be of another network: choose an empty folder")
    output.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(note.encode())
