"""A server of the page in this process, on a free port."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mair_cli.restore.settings import RunSettings
from mair_cli.serve.server import PageServer, ServerSettings, address_of, listen


@contextmanager
def serving(**settings: object) -> Iterator[tuple[str, PageServer]]:
    """Address and server for the length of a `with` block, with an empty cache and no network.

    `settings` are those of `ServerSettings`.
    """
    with tempfile.TemporaryDirectory() as cache, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAIR_CACHE_DIR", cache)
        patch.setenv("MAIR_OFFLINE", "1")
        with _running(settings) as running:
            yield running


@contextmanager
def _running(settings: dict[str, object]) -> Iterator[tuple[str, PageServer]]:
    where = ServerSettings(**{"port": 0, **settings})  # type: ignore[arg-type]
    listener = listen(where)
    ready = threading.Event()
    server = PageServer(where, RunSettings(device="cpu", threads=1), ready.set)
    thread = threading.Thread(target=server.serve_on, args=(listener,))
    thread.start()
    assert ready.wait(20)
    try:
        yield address_of(listener), server
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
