"""The HTTP interface: addresses, what they take, what they answer. docs/serve.md describes it."""

from __future__ import annotations

import asyncio
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from mair_cli.errors import ImageError, MairError, UsageError
from mair_cli.restore.settings import RunSettings
from mair_cli.serve import page
from mair_cli.serve.form import FIELDS, RestoreForm, read_form
from mair_cli.serve.orders import BusyError, Order, OrderBook

_UNNAMED: Final = "picture"
_FORM_TYPE: Final = "multipart/form-data"  # curl calls every body that it is given a form of the other type


class Endpoints:
    """Answers requests from an order book."""

    def __init__(self, book: OrderBook, machine: RunSettings, most_bytes: int) -> None:
        """Serve `book`; `machine` are the settings that requests cannot change."""
        self.book, self.machine, self.most_bytes = book, machine, most_bytes

    def application(self) -> Starlette:
        """All addresses."""
        return Starlette(
            routes=[
                Route("/", self.page),
                Route("/page.js", self.script),
                Route("/api/tasks", self.tasks),
                Route("/api/restore", self.restore, methods=["POST"]),
                Route("/api/orders", self.order, methods=["POST"]),
                Route("/api/orders.zip", self.archive),
                Route("/api/orders/{id}", self.state),
                Route("/api/orders/{id}", self.withdraw, methods=["DELETE"]),
                Route("/api/orders/{id}/result", self.result),
                Route("/api/orders/{id}/{side:str}", self.shown),
            ],
            exception_handlers={HTTPException: _http_error, MairError: _error, ClientDisconnect: _gone},
        )

    async def page(self, request: Request) -> Response:
        """The page for people."""
        return HTMLResponse(await run_in_threadpool(page.html, self.most_bytes))

    async def script(self, request: Request) -> Response:
        """Its script."""
        return Response(page.script(), media_type="text/javascript")

    async def tasks(self, request: Request) -> Response:
        """What can be asked for here."""
        offers = [{"task": o.task.name, "title": o.verb, "problem": o.problem} for o in page.offers()]
        return JSONResponse({"tasks": offers, "fields": list(FIELDS), "most_bytes": self.most_bytes})

    async def restore(self, request: Request) -> Response:
        """Take a picture, wait, give the result; nothing of either is kept."""
        order = await self._take(request)
        try:
            finished = await _finished(order, request)
        except asyncio.CancelledError:
            self.book.withdraw(order)
            raise
        forget = BackgroundTask(self.book.withdraw, order)
        if not finished:
            self.book.withdraw(order)
            return Response(status_code=499)  # to nobody
        if order.error is not None:
            return JSONResponse({"error": order.error}, 400 if order.wrongly_asked else 422, background=forget)
        return _result(order, forget)

    async def order(self, request: Request) -> Response:
        """Take a picture and answer at once; one that cannot be read is an order that failed."""
        try:
            order = await self._take(request)
        except ImageError as error:
            return JSONResponse({"state": "failed", "error": str(error)})
        return JSONResponse(self._told(order), 202, headers={"Location": f"/api/orders/{order.id}"})

    async def state(self, request: Request) -> Response:
        """How far an order is."""
        return JSONResponse(self._told(self._find(request)))

    async def withdraw(self, request: Request) -> Response:
        """Forget an order."""
        self.book.withdraw(self._find(request))
        return Response(status_code=204)

    async def result(self, request: Request) -> Response:
        """The restored picture, to be saved."""
        return _result(self._done(self._find(request)))

    async def shown(self, request: Request) -> Response:
        """A picture for looking at: the one that came (`before`), or its result (`after`)."""
        order, side = self._find(request), request.path_params["side"]
        if side not in ("before", "after"):
            raise HTTPException(404, "There is no such address.")
        path, info = order.picture, order.info
        if side == "after":
            path, info = self._done(order).restored, order.result or order.info
        if page.shown_as_it_is(info):
            return FileResponse(path, media_type=page.content_type(info))
        return Response(await run_in_threadpool(page.preview, path, order.name), media_type="image/webp")

    async def archive(self, request: Request) -> Response:
        """Several results in one file."""
        orders = [self.book.find(id_) for id_ in request.query_params.getlist("id")]
        files = _distinct([(order.result_name, order.restored) for order in orders if order and order.result])
        if not files:
            raise HTTPException(404, "None of these is done.")
        return StreamingResponse(_zipped(files), media_type="application/zip", headers=_saved_as("mair.zip"))

    async def _take(self, request: Request) -> Order:
        """The order that a request makes, by a form or with the picture as its body and the rest in the address."""
        folder = self.book.new_folder()
        try:
            is_form = request.headers.get("content-type", "").startswith(_FORM_TYPE)
            receive = self._take_form if is_form else self._take_body
            name, asked = await receive(request, folder / "picture")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return await run_in_threadpool(self.book.add, name, asked, folder)

    async def _take_form(self, request: Request, target: Path) -> tuple[str, RestoreForm]:
        fields = dict(request.query_params)
        async with request.form(max_files=1, max_fields=2 * len(FIELDS)) as form:
            pictures = [value for value in form.values() if isinstance(value, UploadFile)]
            fields |= {name: value for name, value in form.items() if isinstance(value, str)}
            if not pictures:
                raise UsageError("There is no picture in the form: add one as a file.")
            asked = read_form(fields, self.machine)
            await run_in_threadpool(_copy, pictures[0], target)
            return _plain(pictures[0].filename), asked

    async def _take_body(self, request: Request, target: Path) -> tuple[str, RestoreForm]:
        fields = dict(request.query_params)
        name = _plain(fields.pop("name", None))
        asked = read_form(fields, self.machine)
        with target.open("wb") as file:
            async for chunk in request.stream():
                await run_in_threadpool(file.write, chunk)
        if not target.stat().st_size:
            raise UsageError("The request holds no picture: send one as its body, or in a form.")
        return name, asked

    def _find(self, request: Request) -> Order:
        order = self.book.find(request.path_params["id"])
        if order is None:
            raise HTTPException(404, "There is no such order (any more).")
        return order

    def _done(self, order: Order) -> Order:
        if order.state != "done":
            raise HTTPException(409, order.error or "It is not done yet.")
        return order

    def _told(self, order: Order) -> dict[str, object]:
        told: dict[str, object] = {
            "id": order.id,
            "name": order.name,
            "state": order.state,
            "ahead": self.book.ahead(order) if order.state == "waiting" else 0,
            "progress": order.done / order.total if order.total else 0.0,
            "width": order.info.width,
            "height": order.info.height,
        }
        if order.error is not None:
            told["error"] = order.error
        if order.outcome is not None and order.result is not None:
            told["result"] = {
                "name": order.result_name,
                "width": order.result.width,
                "height": order.result.height,
                "bytes": order.restored.stat().st_size,
                "seconds": round(order.outcome.seconds, 2),
                "model": order.outcome.model,
                "told": str(order.outcome.levels),
            }
        return told


async def _finished(order: Order, request: Request) -> bool:
    """Wait for an order; False where the client went away first."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    leaving = asyncio.ensure_future(gone())
    done = asyncio.wrap_future(order.finished)
    try:
        await asyncio.wait({leaving, done}, return_when=asyncio.FIRST_COMPLETED)
        return done.done() and not done.cancelled()
    finally:
        leaving.cancel()
        with suppress(asyncio.CancelledError):
            await leaving


def _result(order: Order, background: BackgroundTask | None = None) -> Response:
    assert order.result is not None
    kind, headers = page.content_type(order.result), _saved_as(order.result_name)
    return FileResponse(order.restored, media_type=kind, headers=headers, background=background)


def _saved_as(name: str) -> dict[str, str]:
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._- ()") else "_" for c in name)  # for older clients
    exact = f"; filename*=UTF-8''{quote(name, safe='')}" if plain != name else ""
    return {"Content-Disposition": f'attachment; filename="{plain}"{exact}'}


def _copy(upload: UploadFile, target: Path) -> None:
    with target.open("wb") as file:
        shutil.copyfileobj(upload.file, file)


def _plain(name: str | None) -> str:
    """A file's bare name: no folders, of whatever system, and nothing that is not printed."""
    bare = PurePosixPath((name or "").replace("\\", "/")).name
    return "".join(c for c in bare if c.isprintable())[-200:].lstrip(".") or _UNNAMED


def _distinct(files: list[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """The files under names that differ."""
    taken: set[str] = set()
    named = []
    for name, path in files:
        free, number = name, 2
        while free.lower() in taken:
            free, number = f"{Path(name).stem} ({number}){Path(name).suffix}", number + 1
        taken.add(free.lower())
        named.append((free, path))
    return named


class _Pieces:
    """A stream that gives away what is written to it."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing is open."""

    def taken(self) -> bytes:
        data, self._pieces = b"".join(self._pieces), []
        return data


def _zipped(files: list[tuple[str, Path]]) -> Iterator[bytes]:
    """A ZIP file piece by piece; pictures are compressed already."""
    pieces = _Pieces()
    with zipfile.ZipFile(pieces, "w", zipfile.ZIP_STORED) as archive:
        for name, path in files:
            with path.open("rb") as source, archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as target:
                for chunk in iter(partial(source.read, 1 << 20), b""):
                    target.write(chunk)
                    yield pieces.taken()
    yield pieces.taken()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def _error(request: Request, error: Exception) -> Response:
    if isinstance(error, BusyError):
        return JSONResponse({"error": str(error)}, 503, headers={"Retry-After": "10"})
    return JSONResponse({"error": str(error)}, 422 if isinstance(error, ImageError) else 400)


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # to nobody
