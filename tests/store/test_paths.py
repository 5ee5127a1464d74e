"""Where the cache lies, and that a user without home gets no folder called `~`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mair_cli.errors import OfflineError, UsageError
from mair_cli.store.paths import NOWHERE, cache_dir, check_online, expanded


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a user whom the system does not know and who has no HOME."""
    monkeypatch.setattr(os.path, "expanduser", str)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("MAIR_CACHE_DIR", raising=False)


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MAIR_CACHE_DIR", "~/mine")
    assert cache_dir() == tmp_path / "mine"
    monkeypatch.setenv("MAIR_CACHE_DIR", " ")
    assert cache_dir().is_relative_to(tmp_path) or "XDG_CACHE_HOME" in os.environ
    assert cache_dir().name == "mair"


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize("named", ["", "~", "~/mine"])
def test_without_a_home_there_is_no_cache_and_making_one_fails(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIR_CACHE_DIR", named)
    assert cache_dir() == NOWHERE
    assert not (cache_dir() / "weights").is_dir()
    with pytest.raises(OSError, match="no-home-folder"):
        (cache_dir() / "weights").mkdir(parents=True, exist_ok=True)


@pytest.mark.usefixtures("homeless")
def test_a_path_from_home_says_that_there_is_none() -> None:
    with pytest.raises(UsageError, match=r"~/a: no home folder is known"):
        expanded("~/a")
    assert expanded("a~/~") == Path("a~/~")
    assert expanded("~a") == Path("~a")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may become somebody unknown")
def test_an_unknown_user_without_home_restores_with_bundled_weights(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    code = f"""if True:
        import os, sys
        sys.path[:0] = {[str(Path(__file__).parents[2])]!r}
        import torch, mair_cli
        from mair_cli.weights.choice import select
        from mair_cli.weights.checkpoint import load_network
        from mair_cli.weights.cache import weights_file
        from mair_cli.errors import DownloadError
        from mair_cli.weights.catalog import find
        from mair_cli.weights.fetch import fetch
        load_network(weights_file(find("mair-lite-x4")))  # imports what that user may not be allowed to read
        os.chdir({str(tmp_path)!r})
        os.setgroups([]); os.setgid(54321); os.setuid(54321)
        os.environ.clear()
        entry = select("sr", scale=4)
        load_network(weights_file(entry))
        os.environ["MAIR_MIRROR"] = "http://127.0.0.1:9/"
        try:
            fetch(find("mair-t-x4"))
        except DownloadError as error:
            print(entry.name, error)
        """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("mair-lite-x4 Cannot write to ")
    assert "no-home-folder" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["1", "yes", "true", "on", "anything"])
def test_the_environment_forbids_the_network(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIR_OFFLINE", value)
    with pytest.raises(OfflineError, match=r"^x is not here: .* \(`offline` or MAIR_OFFLINE\)\. y$"):
        check_online("x is not here", way_out=" y")


@pytest.mark.parametrize("value", ["", "0", "no", "False", " off "])
def test_a_no_in_the_environment_forbids_nothing(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIR_OFFLINE", value)
    check_online("x")
    with pytest.raises(OfflineError):
        check_online("x", offline=True)
