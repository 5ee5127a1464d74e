"""What stands before every request: who may ask, how much may be sent, and what browsers are told.

A page on another site can send requests to this machine from the user's browser; it can neither name our host in
`Host` (but for a name that it made point here) nor hide where it comes from in `Origin` and `Sec-Fetch-Site`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_DISCARDED_AT_MOST: Final = 8
"""A body that is too large is read on, and thrown away, up to so many times the bound: many clients send all of it
before they look at the answer."""

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; "
    "img-src 'self' blob: data:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Guard:
    """ASGI middleware that refuses what must not reach `app`.

    Attributes:
        app: what is guarded.
        hosts: names by which the server may be called, in lower case, beside loopback ones.
        any_address: whether plain IP addresses will do too: no other site can make one point here.
        most_bytes: bound on the body of a request.
    """

    app: ASGIApp
    hosts: Collection[str]
    any_address: bool
    most_bytes: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        refusal = self._refusal(scope["method"], scope["path"], headers)
        if refusal is not None:
            await refusal(scope, receive, send_with_headers)
        elif _length(headers) > self.most_bytes:
            if "expect" not in headers:  # else the client waits to be told before it sends anything
                await self._discard(receive)
            await self._too_large()(scope, receive, send_with_headers)
        else:
            await self.app(scope, self._bounded(receive), send_with_headers)

    def _refusal(self, method: str, path: str, headers: Headers) -> JSONResponse | None:
        host = headers.get("host", "")
        if not self._is_ours(host):
            return _refused(f"This server is not called {host!r}.")
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return _refused("Requests from other sites are refused.")
        follows_link = method == "GET" and path == "/" and headers.get("sec-fetch-mode") == "navigate"
        if site not in ("same-origin", "none") and not follows_link:
            return _refused("Requests from other sites are refused.")
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name == "localhost" or name in self.hosts:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self.any_address or address.is_loopback

    def _bounded(self, receive: Receive) -> Receive:
        """Count what comes where its length was not announced."""
        received = 0

        async def count() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.most_bytes:
                if message.get("more_body"):
                    await self._discard(receive)
                raise HTTPException(413, self._bound)
            return message

        return count

    async def _discard(self, receive: Receive) -> None:
        left = _DISCARDED_AT_MOST * self.most_bytes
        while left > 0:
            message = await receive()
            left -= len(message.get("body", b""))
            if not message.get("more_body"):
                return

    @property
    def _bound(self) -> str:
        return f"Pictures of more than {self.most_bytes / 1e6:g} MB are not taken."

    def _too_large(self) -> JSONResponse:
        return JSONResponse({"error": self._bound}, 413, headers={"Connection": "close"})


def _refused(reason: str) -> JSONResponse:
    return JSONResponse({"error": reason}, 403)


def _length(headers: Headers) -> int:
    text = headers.get("content-length", "0")
    return int(text) if text.isdecimal() else 0
