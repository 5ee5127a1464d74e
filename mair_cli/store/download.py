"""Fetching one file over http, whole and right or not at all. Free of torch.

The bytes are measured and hashed before they take the target's name (see `store.atomic`); so a target that exists is
complete, however many processes fetch it at once and whenever one of them is killed. An interrupted transfer goes on
from this process's own temporary file, and only where the server proves that the file is unchanged.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import random
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final
from urllib.parse import urljoin, urlsplit

from mair_cli.errors import DownloadError
from mair_cli.store.addresses import masked
from mair_cli.store.atomic import atomic_write
from mair_cli.store.files import CACHE_MOVES, check_space, disk_errors_as
from mair_cli.store.paths import check_online
from mair_cli.version import __version__

if TYPE_CHECKING:
    import requests

__all__ = [
    "NotThereError",
    "RetryPolicy",
    "WebPageError",
    "fetch_file",
]

log = logging.getLogger(__name__)

ProgressCallback = Callable[[int, "int | None"], None]

LARGEST: Final = 8 << 30
"""Bytes after which an endless answer is given up."""

_CHUNK: Final = 1 << 18
_MAX_REDIRECTS: Final = 10
_MAX_CONNECTIONS: Final = 50
_PROGRESS_THAT_COUNTS: Final = 1 << 16
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_RETRYABLE_STATUS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class NotThereError(DownloadError):
    """The server answered, and has no such file."""


class WebPageError(DownloadError):
    """A web page came in place of the file.

    Attributes:
        page: its beginning, as text.
        url: the address that it came from, redirects followed.
    """

    def __init__(self, message: str, page: str, url: str) -> None:
        super().__init__(message)
        self.page = page
        self.url = url


@dataclass(frozen=True)
class RetryPolicy:
    """How long to wait, and how often to try.

    Attributes:
        seconds: for a connection, and for an answer; `MAIR_TIMEOUT` sets it.
        attempts: connections in a row that bring nothing.
        pause: seconds before the second attempt; doubled for each further one.
        longest_pause: seconds; also the most that a server's `Retry-After` is obeyed.
        slowest: bytes per second, on average over `seconds`, below which a transfer counts as stuck.
    """

    seconds: float = 20.0
    attempts: int = 4
    pause: float = 0.5
    longest_pause: float = 30.0
    slowest: float = 1024.0

    @classmethod
    def from_environment(cls) -> RetryPolicy:
        """The defaults, with `MAIR_TIMEOUT` seconds of waiting where that is a positive number."""
        with suppress(ValueError):
            seconds = float(os.environ.get("MAIR_TIMEOUT", ""))
            if 0 < seconds < 1e6:
                return cls(seconds=seconds, pause=min(cls.pause, seconds / 10), longest_pause=min(30.0, 2 * seconds))
        return cls()


class _Retryable(Exception):  # noqa: N818  (never leaves this module)
    """A failure that may pass: worth another attempt, after at least `wait` seconds."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass
class _Transfer:
    """One file on its way; everything known about it so far."""

    url: str
    file: BinaryIO
    folder: Path
    size: int | None
    policy: RetryPolicy
    progress: ProgressCallback | None
    received: int = 0
    total: int | None = None
    validator: str | None = None
    session: requests.Session = field(init=False)

    def __str__(self) -> str:
        """The address as messages show it."""
        return masked(self.url)

    def restart(self) -> None:
        """Forget what came."""
        self.file.seek(0)
        self.file.truncate()
        self.received, self.total, self.validator = 0, None, None


def fetch_file(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    progress: ProgressCallback | None = None,
    offline: bool = False,
    policy: RetryPolicy | None = None,
) -> Path:
    """Fetch `url` to `target`, replacing it only by a complete file.

    Args:
        url: http or https; proxies are taken from the environment as requests does.
        target: where the file goes; its folder is made where needed.
        sha256: the file's hash, 64 hexadecimal digits, where known.
        size: the file's length in bytes, where known.
        progress: called with (bytes so far, bytes in all or None).
        offline: refuse to open a connection, as `MAIR_OFFLINE=1` does.
        policy: waiting and attempts; default from the environment.

    Returns:
        `target`.

    Raises:
        OfflineError: going online is forbidden.
        NotThereError: the server has no such file.
        WebPageError: a web page came in place of the file.
        DownloadError: anything else that kept the right file from arriving whole.
    """
    check_online(f"{masked(url)} is not fetched", offline=offline)
    with disk_errors_as(DownloadError, f"Cannot write to {target.parent}", CACHE_MOVES), atomic_write(target) as file:
        transfer = _Transfer(url, file, target.parent, size, policy or RetryPolicy.from_environment(), progress)
        _run(transfer)
        _check_content(transfer, sha256)
    return target


def _run(transfer: _Transfer) -> None:
    """Connect, and connect again, until all has come or trying is given up."""
    import requests

    with requests.Session() as session:
        session.headers.update({"User-Agent": f"mair-cli/{__version__}", "Accept-Encoding": "identity"})
        transfer.session = session
        failures = 0
        for connection in itertools.count(1):
            before = transfer.received
            try:
                _connect_and_receive(transfer)
                return
            except _Retryable as trouble:
                failures = 0 if transfer.received - before >= _PROGRESS_THAT_COUNTS else failures + 1
                if failures >= transfer.policy.attempts or connection >= _MAX_CONNECTIONS:
                    raise DownloadError(f"{transfer}: {trouble} (tried {connection} times).") from trouble
                log.info("%s: %s; trying again", transfer, trouble)
                _pause(transfer.policy, failures, trouble.wait)


def _pause(policy: RetryPolicy, failures: int, at_least: float) -> None:
    # Spread out, so that many processes that failed together do not come back together.
    wait = policy.pause * 2 ** max(0, failures - 1) * random.uniform(0.75, 1.25)
    time.sleep(min(max(wait, at_least), policy.longest_pause))


def _connect_and_receive(transfer: _Transfer) -> None:
    """One connection, from what is there to the end; raises `_Retryable` for what may pass."""
    import requests
    import urllib3

    if transfer.received and transfer.validator is None:
        transfer.restart()
    try:
        with _open(transfer) as response:
            _check_response(transfer, response)
            _receive(transfer, response)
    except requests.exceptions.SSLError as error:
        raise DownloadError(f"{transfer}: the server's certificate is not trusted ({_reason(error)}).") from error
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise DownloadError(f"{transfer} is not a web address that can be fetched.") from error
    except requests.exceptions.ProxyError as error:
        raise DownloadError(f"{transfer}: the proxy does not answer; see HTTPS_PROXY and HTTP_PROXY.") from error
    except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError) as error:
        raise _Retryable(f"no answer within {transfer.policy.seconds:g} seconds") from error
    except requests.exceptions.ConnectionError as error:
        raise _Retryable(f"no connection ({_reason(error)})") from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _Retryable(f"the transfer broke off ({_reason(error)})") from error
    except ValueError as error:  # requests looks at a redirect's address even where it is told not to follow
        raise DownloadError(f"{transfer} leads to an address that is none: neither http nor https.") from error


def _reason(error: BaseException) -> str:
    """The innermost cause in few words."""
    text = str(error)
    known = re.findall(r"(?:\[Errno -?\d+\] |certificate verify failed: |IncompleteRead)[^'\")]*", text)
    return (known[-1] if known else type(error).__name__).strip().rstrip(".")


def _open(transfer: _Transfer) -> requests.Response:
    """Ask for the file, or for its rest, and follow redirects: never from https to http, never in circles."""
    headers = {}
    if transfer.received and transfer.validator:
        headers = {"Range": f"bytes={transfer.received}-", "If-Range": transfer.validator}
    url, seen = transfer.url, set[str]()
    while True:
        if _scheme(url) not in ("http", "https"):
            raise DownloadError(f"{transfer} leads to {masked(url)[:200]}, which is neither http nor https.")
        seconds = transfer.policy.seconds
        response = transfer.session.get(url, headers=headers, stream=True, allow_redirects=False, timeout=seconds)
        place = response.headers.get("Location")
        if response.status_code not in _REDIRECTS or not place:
            return response
        response.close()
        seen.add(url)
        protected = _scheme(url) == "https"
        url = urljoin(url, place) if _scheme(place) is not None else place
        if protected and _scheme(url) == "http":
            raise DownloadError(f"{transfer} leads from https to {masked(url)[:200]}, unprotected http: refused.")
        if len(seen) >= _MAX_REDIRECTS or url in seen:
            raise DownloadError(f"{transfer} only leads from one address to the next, in circles or without end.")


def _scheme(url: str) -> str | None:
    """`https` and the like, "" for a relative address, None for what is no address at all."""
    try:
        return urlsplit(url).scheme
    except ValueError:
        return None


def _check_response(transfer: _Transfer, response: requests.Response) -> None:
    """Judge the answer's status and headers, and make ready for its body."""
    status = response.status_code
    if status == 416 or (status == 206 and not _continues(transfer, response)):
        transfer.restart()
        raise _Retryable("the server sent another part of the file than was asked for")
    if status == 200:
        if transfer.received:  # the whole file, although its rest was asked for: it changed, or ranges are unknown
            transfer.restart()
    elif status != 206:
        _raise_for_status(transfer, response)
    encoded = response.headers.get("Content-Encoding", "identity").lower() != "identity"
    length = None if encoded else _number(response.headers.get("Content-Length"))
    total = None if length is None else transfer.received + length
    if transfer.total is not None and total != transfer.total:
        transfer.restart()
        raise _Retryable("the file changed its length between two connections")
    if _is_web_page(response):
        page = response.raw.read(_CHUNK, decode_content=True).decode("utf-8", "replace")
        raise WebPageError(f"{transfer}: a web page came in place of the file.", page, response.url)
    if transfer.size is not None and total is not None and total != transfer.size:
        raise DownloadError(f"{transfer} is {total} bytes long, not {transfer.size}: another file.")
    transfer.total = total
    transfer.validator = None if encoded else _validator(response)
    check_space(transfer.folder, (total or transfer.size or 0) - transfer.received)


def _continues(transfer: _Transfer, response: requests.Response) -> bool:
    """Whether a partial answer is the rest of what is there, to the end."""
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    if found is None or not transfer.received:
        return False
    first, last = int(found[1]), int(found[2])
    whole = transfer.total if found[3] == "*" else int(found[3])
    return first == transfer.received and whole == transfer.total and (whole is None or last == whole - 1)


def _raise_for_status(transfer: _Transfer, response: requests.Response) -> None:
    status = response.status_code
    if status in _RETRYABLE_STATUS:
        wait = _number(response.headers.get("Retry-After")) or 0
        meaning = "too many requests at the moment" if status == 429 else "the server is in trouble"
        raise _Retryable(f"{meaning} (status {status})", wait)
    if status in (404, 410):
        raise NotThereError(f"{transfer}: there is no such file (status {status}).")
    if _is_web_page(response):
        page = response.raw.read(_CHUNK, decode_content=True).decode("utf-8", "replace")
        raise WebPageError(f"{transfer}: access refused (status {status}).", page, response.url)
    meaning = "access refused" if status in (401, 403, 407, 451) else "an answer that makes no sense here"
    raise DownloadError(f"{transfer}: {meaning} (status {status}).")


def _is_web_page(response: requests.Response) -> bool:
    return response.headers.get("Content-Type", "").lower().startswith(("text/html", "application/xhtml"))


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None


def _validator(response: requests.Response) -> str | None:
    """What proves that the file has not changed when its rest is asked for."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified")


def _receive(transfer: _Transfer, response: requests.Response) -> None:
    """Write the body to the file; raises `_Retryable` if it ends early or hardly moves."""
    most = transfer.size or transfer.total or LARGEST
    since, at_that_time = time.monotonic(), transfer.received
    while chunk := _next_chunk(response):
        if transfer.received == 0 and chunk.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
            page = chunk.decode("utf-8", "replace")
            raise WebPageError(f"{transfer}: a web page came in place of the file.", page, response.url)
        if transfer.received + len(chunk) > most:
            raise DownloadError(f"{transfer} is longer than {most} bytes: another file, or none at all.")
        transfer.file.write(chunk)
        transfer.received += len(chunk)
        if transfer.progress is not None:
            transfer.progress(transfer.received, transfer.total or transfer.size)
        elapsed = time.monotonic() - since
        if elapsed >= transfer.policy.seconds:
            if (transfer.received - at_that_time) / elapsed < transfer.policy.slowest:
                raise _Retryable(f"it hardly moves ({transfer.received} bytes so far)")
            since, at_that_time = time.monotonic(), transfer.received
    if transfer.total is not None and transfer.received < transfer.total:
        raise _Retryable(f"the transfer broke off after {transfer.received} of {transfer.total} bytes")


def _next_chunk(response: requests.Response) -> bytes:
    """What has arrived, without waiting for a full chunk, so that a trickle is noticed."""
    chunk: bytes = response.raw.read1(_CHUNK, decode_content=True)
    return chunk


def _check_content(transfer: _Transfer, sha256: str | None) -> None:
    if transfer.received == 0:
        raise DownloadError(f"{transfer}: an empty file came.")
    if transfer.size is not None and transfer.received != transfer.size:
        raise DownloadError(f"{transfer} is {transfer.received} bytes long, not {transfer.size}: another file.")
    if sha256 is None:
        return
    transfer.file.seek(0)
    digest = hashlib.sha256()
    while block := transfer.file.read(1 << 20):
        digest.update(block)
    if digest.hexdigest() != sha256.lower():
        raise DownloadError(
            f"{transfer} is not the expected file: SHA-256 {digest.hexdigest()} instead of {sha256.lower()}."
        )
