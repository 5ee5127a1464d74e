"""Where files that outlive a run belong, and whether the network may be asked for them.

`MAIR_CACHE_DIR` moves the cache, `MAIR_OFFLINE=1` forbids every network request.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import platformdirs

from mair_cli.errors import OfflineError, UsageError

__all__ = ["NOWHERE", "cache_dir", "check_online", "expanded", "offline_requested"]

NOWHERE: Final = Path(os.devnull) / "no-home-folder"
"""The cache of a user without home: nothing is there, and whoever writes to it gets an OSError that names it."""


def cache_dir() -> Path:
    """Folder for everything fetched: `MAIR_CACHE_DIR`, else the user cache folder of this system. May not exist yet.

    `NOWHERE` where neither is known, so that what needs no cache works without one.
    """
    named = os.environ.get("MAIR_CACHE_DIR", "").strip()
    try:
        return expanded(named or platformdirs.user_cache_dir("mair", appauthor=False))
    except (UsageError, RuntimeError):  # RuntimeError: recent platformdirs without a home
        return NOWHERE


def expanded(text: str) -> Path:
    """A path that a person wrote, with the home folder for `~`.

    Raises:
        UsageError: no home folder is known. (Else a folder called `~` would be looked for, or even made.)
    """
    path = Path(os.path.expanduser(text))  # noqa: PTH111  (Path's own ends in a RuntimeError where there is no home)
    if path.parts[:1] == ("~",):
        raise UsageError(f"{text}: no home folder is known here (HOME is not set); write the whole path.")
    return path


def offline_requested() -> bool:
    """Whether `MAIR_OFFLINE` forbids network requests (set, and not to 0, false, no or off)."""
    return os.environ.get("MAIR_OFFLINE", "").strip().lower() not in {"", "0", "false", "no", "off"}


def check_online(what: str, *, offline: bool = False, way_out: str = "") -> None:
    """To be called before every network request of this package.

    Args:
        what: the end of it, such as `Set5 is not here`.
        offline: forbid it in any case.
        way_out: what to do instead.

    Raises:
        OfflineError: network requests are forbidden, by `offline` or by `MAIR_OFFLINE`.
    """
    if offline or offline_requested():
        raise OfflineError(f"{what}: going online is forbidden (`offline` or MAIR_OFFLINE).{way_out}")
