"""A bucket on a real S3 server of this machine (moto's), reached as users reach theirs: by the environment."""

from __future__ import annotations

import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "hush-hush", "AWS_DEFAULT_REGION": "us-east-1"}


@contextmanager
def s3_server() -> Iterator[str]:
    """A server, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()


def use(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Let this process, and those that it starts, find the server."""
    for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MAIR_OFFLINE", raising=False)
    S3FileSystem.clear_instance_cache()  # which would go on with the server of before


@contextmanager
def troubled_server(
    status: int,
    code: str,
    only: str = "",
    behind: str | None = None,
    delay: float = 0,
    told: Callable[[str, int], None] = lambda path, port: None,
) -> Iterator[tuple[str, list[str]]]:
    """A server that answers with an error, late, where a path ends with `only`, and passes all else on; paths seen.

    `told` hears of each path before it is answered, and of the port from which it was asked.
    """
    seen: list[str] = []
    trouble = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            seen.append(self.path)
            told(self.path.partition("?")[0], self.client_address[1])
            number, headers, content = status, [("Content-Length", str(len(trouble)))], trouble
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if behind is not None and not self.path.partition("?")[0].endswith(only):
                given = {name: value for name, value in self.headers.items() if name != "Content-Length"}
                given.setdefault("Content-Type", "application/octet-stream")  # else urllib says that it is a form
                passed = urllib.request.Request(behind + self.path, body or None, given, method=self.command)
                try:
                    with urllib.request.urlopen(passed) as reply:
                        number, headers, content = reply.status, reply.headers.items(), reply.read()
                except urllib.error.HTTPError as error:
                    number, headers, content = error.code, list(error.headers.items()), error.read()
            else:
                time.sleep(delay)
            self.send_response_only(number)
            for name, value in headers:
                if name.lower() not in ("connection", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(b"" if self.command == "HEAD" else content)
            self.close_connection = True

        do_GET = do_HEAD = do_PUT = do_DELETE = answer  # noqa: N815 - as the library names them

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        server.server_close()


class Bucket:
    """What lies in a bucket, looked at and filled by another library than the program's."""

    def __init__(self, endpoint: str, name: str) -> None:
        self.name = name
        self.client: Any = boto3.client(
            "s3", endpoint_url=endpoint, aws_access_key_id="someone", aws_secret_access_key="hush-hush"
        )
        self.client.create_bucket(Bucket=name)

    def put(self, key: str, content: Path | bytes) -> None:
        self.client.put_object(
            Bucket=self.name, Key=key, Body=content if isinstance(content, bytes) else content.read_bytes()
        )

    def get(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return content

    def objects(self) -> set[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return {entry["Key"] for page in pages for entry in page.get("Contents", ())}
