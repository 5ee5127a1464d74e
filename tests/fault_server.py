"""A local web server that answers rightly or wrongly, as each test asks: the other end of all downloads."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Request:
    """One request and the means to answer it byte by byte."""

    handler: BaseHTTPRequestHandler
    path: str
    number: int  # how many requests for this path came before

    @property
    def offset(self) -> int:
        """First byte asked for; 0 without a Range header."""
        wanted = self.handler.headers.get("Range", "bytes=0-")
        return int(wanted.removeprefix("bytes=").partition("-")[0])

    def head(self, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.handler.send_response_only(status)
        for name, value in (headers or {}).items():
            self.handler.send_header(name, value)
        self.handler.send_header("Connection", "close")
        self.handler.end_headers()

    def body(self, data: bytes) -> None:
        with suppress(OSError):
            self.handler.wfile.write(data)
            self.handler.wfile.flush()

    def cut(self) -> None:
        """Drop the connection the hard way (a reset, not an orderly end)."""
        with suppress(OSError):
            self.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.handler.connection.close()

    def whole(self, data: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
        self.head(status, {"Content-Length": str(len(data)), **(headers or {})})
        self.body(data)


Answer = Callable[[Request], None]


@dataclass
class FaultServer:
    """Serves `answers[path]`; every path without an answer is 404."""

    tls: ssl.SSLContext | None = None
    answers: dict[str, Answer] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                owner.answer(self)
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # clients that hang up are what many tests are about

        self.server = Server(("127.0.0.1", 0), Handler)
        if self.tls is not None:
            self.server.socket = self.tls.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    @property
    def address(self) -> str:
        scheme = "https" if self.tls else "http"
        return f"{scheme}://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path
        number = self.seen.count(path)
        self.seen.append(path)
        answer = self.answers.get(path) or self.answers.get(path.partition("?")[0])
        request = Request(handler, path, number)
        if answer is None:
            request.whole(b"not here", status=404)
        else:
            answer(request)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def right(data: bytes) -> Answer:
    """The file as a good server gives it: with its length, a validator, and ranges."""

    def answer(request: Request) -> None:
        if request.offset:
            rest = data[request.offset :]
            span = f"bytes {request.offset}-{len(data) - 1}/{len(data)}"
            request.whole(rest, {"Content-Range": span, "ETag": '"one"'}, status=206)
        else:
            request.whole(data, {"ETag": '"one"', "Accept-Ranges": "bytes"})

    return answer


def without_length(data: bytes, headers: dict[str, str] | None = None) -> Answer:
    """The bytes, then the end of the connection, which is all that tells where they end."""

    def answer(request: Request) -> None:
        request.head(200, headers)
        request.body(data)

    return answer


def status(code: int, page: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
    return lambda request: request.whole(page, headers, code)


def web_page(text: str, code: int = 200) -> Answer:
    return lambda request: request.whole(text.encode(), {"Content-Type": "text/html; charset=utf-8"}, code)


def redirect(place: str, code: int = 302) -> Answer:
    return lambda request: request.whole(b"", {"Location": place}, code)


def first_then(first: Answer, then: Answer) -> Answer:
    return lambda request: (then if request.number else first)(request)


def broken_off(data: bytes, after: int, *, hard: bool = False, tag: str = '"one"') -> Answer:
    """Announces all, sends `after` bytes, ends."""

    def answer(request: Request) -> None:
        request.head(200, {"Content-Length": str(len(data)), "ETag": tag})
        request.body(data[:after])
        if hard:
            request.cut()

    return answer


def dripping(data: bytes, seconds: float) -> Answer:
    """One byte at a time, each long before any time-out."""

    def answer(request: Request) -> None:
        request.head(200, {"Content-Length": str(len(data))})
        end = time.monotonic() + seconds
        for byte in data:
            if time.monotonic() > end:
                return
            request.body(bytes([byte]))
            time.sleep(0.05)

    return answer


def silent(seconds: float, *, before: bytes = b"", length: int = 1000) -> Answer:
    """Says nothing for a while; after a header and a beginning, if there is one."""

    def answer(request: Request) -> None:
        if before:
            request.head(200, {"Content-Length": str(length)})
            request.body(before)
        time.sleep(seconds)

    return answer
