"""The public Python API: names, and that importing the package stays light."""

from __future__ import annotations

import subprocess
import sys

import pytest

import mair_cli


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, mair_cli; print(mair_cli.__version__); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_all_promised_names_are_there() -> None:
    for name in ("Restorer", "load_network", "build_network", "MairError", "__version__"):
        assert getattr(mair_cli, name)
        assert name in dir(mair_cli)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="restorer_"):
        mair_cli.restorer_  # noqa: B018
