"""Refuse a wheel that lacks a data file of the package: pages, figures, bundled weights. Called with its path."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path


def missing(wheel: Path, package: Path) -> list[str]:
    """Files below `package` that are not in the wheel; compiled Python is none."""
    held = set(zipfile.ZipFile(wheel).namelist())
    files = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return sorted(name for path in files if (name := path.relative_to(package.parent).as_posix()) not in held)


if __name__ == "__main__":
    lacking = missing(Path(sys.argv[1]), Path(__file__).parent.parent / "mair_cli")
    sys.exit(f"the wheel lacks {', '.join(lacking)}" if lacking else 0)
