"""`python -m mair_cli`: the same as the command `mair`."""

from __future__ import annotations

from mair_cli.cli.app import main

if __name__ == "__main__":
    raise SystemExit(main())
