"""Where files that outlive a run belong, and whether the network may be asked for them.

`MAIR_CACHE_DIR` moves the cache, `MAIR_OFFLINE=1` forbids every network request.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

__all__ = ["cache_dir", "offline_requested"]


def cache_dir() -> Path:
    """Folder for everything fetched: `MAIR_CACHE_DIR`, else the user cache folder of this system. May not exist yet."""
    named = os.environ.get("MAIR_CACHE_DIR", "").strip()
    return Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("mair", appauthor=False))


def offline_requested() -> bool:
    """Whether `MAIR_OFFLINE` forbids network requests (set, and not to 0, false, no or off)."""
    return os.environ.get("MAIR_OFFLINE", "").strip().lower() not in {"", "0", "false", "no", "off"}
