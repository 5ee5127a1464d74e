"""An error told in one line can be seen whole."""

from __future__ import annotations

import errno
import logging

import pytest

from mair_cli.errors import DownloadError
from mair_cli.store.files import disk_errors_as
from mair_cli.store.trace import log_traceback


def test_the_cause_is_logged_for_those_who_ask_and_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    address = "https://me:hush@host/f?token=hush"
    with pytest.raises(DownloadError) as caught, disk_errors_as(DownloadError, "Cannot read it", "; look at x"):
        raise FileNotFoundError(errno.ENOENT, "Nothing there", address)
    assert str(caught.value) == "Cannot read it: Nothing there; look at x"
    caplog.set_level(logging.INFO)
    log_traceback(caught.value)
    assert caplog.text == ""
    caplog.set_level(logging.DEBUG)
    log_traceback(caught.value)
    assert "FileNotFoundError: [Errno 2] Nothing there: 'https://***@host/f?token=***'" in caplog.text
    assert "raise FileNotFoundError" in caplog.text
    assert "hush" not in caplog.messages[0]
