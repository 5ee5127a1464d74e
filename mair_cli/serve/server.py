"""Listening: a socket, the application behind its guard, and the end of both."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass

import uvicorn

from mair_cli.errors import UsageError
from mair_cli.restore.settings import RunSettings
from mair_cli.serve.app import Endpoints
from mair_cli.serve.guard import Guard
from mair_cli.serve.orders import OrderBook


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Where to listen, and what is too much.

    Attributes:
        host: address or name to listen on.
        port: 0 takes any free one.
        names: names by which others may call this machine, beside its plain addresses.
        most_bytes: bound on the size of a request.
        most_waiting: pictures that may wait.
        most_kept: bytes of pictures and results together.
        max_pixels: larger results are refused; None for the reader's own bound.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    names: Collection[str] = ()
    most_bytes: int = 200_000_000
    most_waiting: int = 100
    most_kept: int = 8_000_000_000
    max_pixels: int | None = None

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def listen(settings: ServerSettings) -> socket.socket:
    """A socket that listens. Raises UsageError where that is impossible."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except (OSError, OverflowError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise UsageError(
            f"Cannot listen on `host` {settings.host}, `port` {settings.port}: {reason}. `port` 0 takes a free one."
        ) from error
    return listener


def address_of(listener: socket.socket) -> str:
    """What to type in a browser on this machine."""
    host, port = listener.getsockname()[:2]
    shown = "127.0.0.1" if host == "0.0.0.0" else "[::1]" if host == "::" else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/"


class PageServer(uvicorn.Server):
    """The server for a listening socket; `serve` runs it until it is told to end."""

    def __init__(
        self, settings: ServerSettings, machine: RunSettings, ready: Callable[[], None] = lambda: None
    ) -> None:
        """`machine`: settings that requests cannot change; `ready` is called once requests are answered."""
        self.book = OrderBook(
            most_waiting=settings.most_waiting, most_bytes=settings.most_kept, max_pixels=settings.max_pixels
        )
        names = {name.lower() for name in (settings.host, *settings.names)}
        guard = Guard(
            Endpoints(self.book, machine, settings.most_bytes).application(),
            names,
            any_address=not settings.is_local,
            most_bytes=settings.most_bytes,
        )
        super().__init__(
            uvicorn.Config(
                guard,
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
                timeout_graceful_shutdown=2,
            )
        )
        self._ready = ready

    def serve_on(self, listener: socket.socket) -> None:
        """Answer requests until a signal or `should_exit` ends it; then nothing of them is left."""
        try:
            self.run([listener])
        finally:
            self.book.close()
            listener.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin, then tell."""
        await super().startup(sockets)
        self._ready()
