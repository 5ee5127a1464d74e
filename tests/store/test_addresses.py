"""No secret of an address is shown, and what is not secret stays readable."""

from __future__ import annotations

import pytest

from mair_cli.store.addresses import masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://host/a/b.pth", "https://host/a/b.pth"),
        ("http://127.0.0.1:8080/a@b/c", "http://127.0.0.1:8080/a@b/c"),
        ("https://me:secret@host:81/f", "https://***@host:81/f"),
        ("https://token@host/f", "https://***@host/f"),
        ("https://me:se@cret@host/f", "https://***@host/f"),
        ("https://me:se/cr?e#t@host/f", "https://***@host/f"),
        ("https://host/f?token=secret", "https://host/f?token=***"),
        ("https://host/f?a=1&X-Amz-Signature=secret;b=2#key=secret", "https://host/f?a=***&X-Amz-Signature=***;b=***#key=***"),
        ("https://host/f?secret", "https://host/f?***"),
        ("https://host/f?", "https://host/f?"),
        ("HTTP://me:secret@HOST/f", "HTTP://***@HOST/f"),
        ("ftp://me:secret@host", "ftp://***@host"),
        (
            "HTTPConnectionPool(host='h', port=80): Max retries exceeded with url: /f?token=secret&b=2 (Caused by x)",
            "HTTPConnectionPool(host='h', port=80): Max retries exceeded with url: /f?token=***&b=*** (Caused by x)",
        ),
        ("/photos/what?/#1.png", "/photos/what?/#1.png"),
        ("photo?.png and me@example.org", "photo?.png and me@example.org"),
        (
            "tried https://me:secret@a/f, then (url='http://b/f?token=secret') failed: no?",
            "tried https://***@a/f, then (url='http://b/f?token=***') failed: no?",
        ),
    ],
)  # fmt: skip
def test_what_is_shown_of_an_address(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert masked(shown) == shown
