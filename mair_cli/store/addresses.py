"""Web addresses as they may be shown: without the secrets that some carry."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["masked"]

# Before an @: user and password, even a password whose `/`, `?` or `#` nobody escaped (`host:80/…@…` is none).
_CREDENTIALS: Final = re.compile(r"(?<=://)(?:[^\s/?#]*@|[^\s/?#@]*:(?!\d*[/?#])\S*@)")
_QUERY: Final = re.compile(r"(?P<address>\w://[^\s?#'\"<>]*)(?P<query>[?#][^\s'\"<>]*)")
_VALUE: Final = re.compile(r"=[^&#;]*")
_VALUE_ELSEWHERE: Final = re.compile(r"(?P<name>[?&][\w.~%-]+)=[^\s&;#'\"<>]*")  # libraries show addresses without host


def masked(text: str) -> str:
    """The text with `***` for users, passwords and the values of queries (`?name=value`) of the addresses in it.

    A single address or a whole message will do: `https://me:secret@host/f?token=abc` becomes
    `https://***@host/f?token=***`.
    """
    without_credentials = _CREDENTIALS.sub("***@", text)
    return _VALUE_ELSEWHERE.sub(r"\g<name>=***", _QUERY.sub(_without_values, without_credentials))


def _without_values(found: re.Match[str]) -> str:
    mark, query = found["query"][0], found["query"][1:]
    return found["address"] + mark + (_VALUE.sub("=***", query) if "=" in query else "***" if query else "")
