"""Web addresses as they may be shown: without the secrets that some carry."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["masked"]

# Before an @: user and password, even a password whose `/`, `?` or `#` nobody escaped (`host:80/…@…` is none).
_CREDENTIALS: Final = re.compile(r"(?<=://)(?:[^\s/?#]*@|[^\s/?#@]*:(?!\d*[/?#])\S*@)")
_QUERY: Final = re.compile(r"(?P<address>\w://[^\s?#'\"<>]*)(?P<query>[?#][^\s'\"<>]*)")
_VALUE: Final = re.compile(r"=[^&#;]*")


def masked(text: str) -> str:
    """The text with `***` for users and passwords, and for each value after `?` or `#`, in every address in it.

    A single address or a whole message will do: `https://me:secret@host/f?token=abc` becomes
    `https://***@host/f?token=***`.
    """
    return _QUERY.sub(_without_values, _CREDENTIALS.sub("***@", text))


def _without_values(found: re.Match[str]) -> str:
    mark, query = found["query"][0], found["query"][1:]
    return found["address"] + mark + (_VALUE.sub("=***", query) if "=" in query else "***" if query else "")
