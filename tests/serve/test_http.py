"""The HTTP interface, asked by a real client over a real socket: results, errors, and what must be refused."""

from __future__ import annotations

import http.client
import io
import json
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
from PIL import Image
from serving import serving

from mair_cli.errors import UsageError
from mair_cli.serve.guard import HEADERS
from mair_cli.serve.server import PageServer, ServerSettings, listen

MOST_BYTES = 300_000


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[str, PageServer]]:
    with serving(most_bytes=MOST_BYTES, max_pixels=40_000_000) as server:
        yield server


@pytest.fixture
def address(running: tuple[str, PageServer]) -> str:
    return running[0]


def picture(width: int = 16, height: int = 12, form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(stream, form)
    return stream.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def left_behind(server: PageServer) -> list[Path]:
    """Files of orders once the answer has been sent, and what follows it is done."""
    for _ in range(100):
        found = [path for path in server.book.root.rglob("*") if path.is_file()]
        if not found:
            break
        time.sleep(0.05)
    return found


def test_a_picture_as_the_body_comes_back_restored_and_is_not_kept(running: tuple[str, PageServer]) -> None:
    address, server = running
    curl = {"Content-Type": "application/x-www-form-urlencoded"}  # says curl of any body
    url = f"{address}api/restore?scale=2&name=caf%C3%A9.png"
    answer = requests.post(url, data=picture(), headers=curl, timeout=60)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "image/png"
    assert "caf%C3%A9_mair_x2.png" in answer.headers["Content-Disposition"]
    assert opened(answer.content).size == (32, 24)
    assert left_behind(server) == []


def test_a_form_gives_what_the_command_gives(address: str, tmp_path: Path) -> None:
    from mair_cli import Restorer

    files, fields = {"image": ("a.jpg", picture(form="JPEG"))}, {"task": "sr", "scale": "3", "format": "png"}
    answer = requests.post(f"{address}api/restore", files=files, data=fields, timeout=60)
    (tmp_path / "a.jpg").write_bytes(files["image"][1])
    Restorer("sr", scale=3, device="cpu").file(tmp_path / "a.jpg", tmp_path / "a.png")
    assert np.array_equal(np.asarray(opened(answer.content)), np.asarray(Image.open(tmp_path / "a.png")))


def test_any_size(address: str) -> None:
    answer = requests.post(f"{address}api/restore?size=150%25&name=a.png", data=picture(), timeout=60)
    assert "a_mair_x1.5.png" in answer.headers["Content-Disposition"]
    assert opened(answer.content).size == (24, 18)


def test_results_are_named_by_the_scale_of_the_model_that_was_asked_for(address: str) -> None:
    answer = requests.post(f"{address}api/restore?model=mair-lite-x2&name=a.png", data=picture(), timeout=60)
    assert "a_mair_x2.png" in answer.headers["Content-Disposition"]
    assert opened(answer.content).size == (32, 24)


def test_the_limit_counts_what_a_size_makes_of_the_picture_not_what_the_usual_scale_would(address: str) -> None:
    large = picture(2000, 1500)
    assert "more than the limit" in requests.post(f"{address}api/orders", data=large, timeout=60).json()["error"]
    order = requests.post(f"{address}api/orders?size=150%25", data=large, timeout=60)
    assert order.status_code == 202
    requests.delete(f"{address}api/orders/{order.json()['id']}", timeout=60)


@pytest.mark.parametrize(
    ("query", "data", "status", "words"),
    [
        ("scale=5", picture(), 400, "`scale` 5"),
        ("scale=two", picture(), 400, "`scale` two"),
        ("task=paint", picture(), 400, "there are sr, denoise"),
        ("task=dejpeg&scale=2", picture(), 400, "`scale` is for"),
        ("scale=2&size=150%25", picture(), 400, "exclude each other"),
        ("size=large", picture(), 400, "`size` large"),
        ("size=4000x", picture(), 422, "photo.png"),
        ("sclae=2", picture(), 400, "no field 'sclae'"),
        ("weights=/etc/passwd", picture(), 400, "no field 'weights'"),
        ("format=exe", picture(), 400, "exe"),
        ("quality=101", picture(), 400, "`quality` 101"),
        ("alpha=gone", picture(), 400, "`alpha` gone"),
        ("ensemble=perhaps", picture(), 400, "true or false"),
        ("task=real-denoise", picture(), 400, "mair download"),
        ("", b"", 400, "no picture"),
        ("", b"not a picture at all", 422, "not an image"),
        ("", picture()[:60], 422, "photo.png"),
        ("", picture(2000, 1500), 422, "more than the limit"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else str(value).replace("/", "_"),
)
def test_what_cannot_be_done_is_told_as_json(address: str, query: str, data: bytes, status: int, words: str) -> None:
    answer = requests.post(f"{address}api/restore?name=photo.png&{query}", data=data, timeout=60)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/json"), answer.text
    assert words in answer.json()["error"]
    assert "/tmp" not in answer.text


def test_a_form_without_a_picture_is_refused(address: str) -> None:
    answer = requests.post(f"{address}api/restore", files={"task": (None, "sr")}, timeout=60)
    assert (answer.status_code, answer.json()["error"][:25]) == (400, "There is no picture in th")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "[::1", "", "10.0.0.7"])
def test_another_host_name_is_refused(address: str, host: str) -> None:
    for path in ("", "page.js", "api/tasks"):
        answer = requests.get(address + path, headers={"Host": host}, timeout=10)
        assert answer.status_code in (400, 403), path


@pytest.mark.parametrize("host", ["localhost", "localhost:9000", "127.0.0.1", "[::1]:8080"])
def test_loopback_names_are_taken_whatever_the_port(address: str, host: str) -> None:
    assert requests.get(f"{address}api/tasks", headers={"Host": host}, timeout=10).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_sites_can_neither_post_nor_read(address: str, headers: dict[str, str]) -> None:
    answer = requests.post(f"{address}api/restore", data=picture(), headers=headers, timeout=10)
    assert answer.status_code == 403
    assert requests.get(f"{address}api/tasks", headers=headers, timeout=10).status_code == 403
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_a_link_from_another_site_opens_the_page(address: str) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert requests.get(address, headers=headers, timeout=10).status_code == 200


def test_every_answer_carries_the_policy(address: str) -> None:
    for path in ("", "page.js", "api/tasks", "api/orders/unknown", "nowhere"):
        headers = requests.get(address + path, timeout=10).headers
        assert {name: headers[name] for name in HEADERS} == HEADERS, path


def test_a_huge_body_is_refused_announced_or_not(running: tuple[str, PageServer]) -> None:
    address, server = running
    huge = bytes(MOST_BYTES + 1)
    for data in (huge, iter([huge[:200_000], huge[:200_000]])):
        answer = requests.post(f"{address}api/restore", data=data, timeout=30)
        assert answer.status_code == 413
        assert "0.3 MB" in answer.json()["error"]
    assert left_behind(server) == []


def test_an_announced_huge_body_need_not_be_sent(address: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=10)
    connection.putrequest("POST", "/api/restore")
    connection.putheader("Content-Length", str(10**12))
    connection.putheader("Expect", "100-continue")
    connection.endheaders()
    assert connection.getresponse().status == 413


def test_twenty_requests_at_once_are_all_answered_with_one_network(
    running: tuple[str, PageServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, server = running
    at_work: list[int] = []
    most: list[int] = []
    real = server.book._carry_out

    def counted(order: Any) -> None:
        at_work.append(1)
        most.append(len(at_work))
        real(order)
        at_work.pop()

    monkeypatch.setattr(server.book, "_carry_out", counted)

    def ask(number: int) -> tuple[int, tuple[int, int]]:
        answer = requests.post(f"{address}api/restore?scale=2", data=picture(16 + number), timeout=120)
        return answer.status_code, opened(answer.content).size

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(20)))
    assert answers == [(200, (32 + 2 * number, 24)) for number in range(20)]
    assert most == [1] * 20
    assert left_behind(server) == []


@pytest.fixture
def held(running: tuple[str, PageServer], monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The order at work stays at work until the event is set."""
    book, go_on = running[1].book, threading.Event()
    load = book._load

    def wait(settings: Any) -> Any:
        go_on.wait(30)
        return load(settings)

    monkeypatch.setattr(book, "_load", wait)
    yield go_on
    go_on.set()


def test_a_client_that_goes_away_takes_its_picture_along(
    running: tuple[str, PageServer], held: threading.Event
) -> None:
    address, server = running
    place, body = urlsplit(address), picture()
    head = f"POST /api/restore HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    clients = [socket.create_connection((place.hostname, place.port)) for _ in range(3)]
    for client in clients:
        client.sendall(head + body)
    while len(server.book._orders) < 3:
        time.sleep(0.02)
    for client in clients:
        client.close()
    for _ in range(200):
        if not server.book._orders:
            break
        time.sleep(0.02)
    assert not server.book._orders
    held.set()
    assert left_behind(server) == []
    assert requests.post(f"{address}api/restore?scale=2", data=picture(), timeout=60).status_code == 200


def test_a_client_that_goes_away_while_sending_leaves_nothing(running: tuple[str, PageServer]) -> None:
    address, server = running
    place = urlsplit(address)
    with socket.create_connection((place.hostname, place.port)) as client:
        client.sendall(
            f"POST /api/restore HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: 9999\r\n\r\nabc".encode()
        )
        time.sleep(0.1)
    assert left_behind(server) == []
    for _ in range(100):
        if not list(server.book.root.iterdir()):
            break
        time.sleep(0.05)
    assert list(server.book.root.iterdir()) == []


def finished(address: str, order: dict[str, Any]) -> dict[str, Any]:
    told = order
    for _ in range(600):
        told = requests.get(f"{address}api/orders/{order['id']}", timeout=10).json()
        if told["state"] in ("done", "failed"):
            break
        time.sleep(0.05)
    return told


def test_an_order_waits_is_done_is_shown_and_forgotten(running: tuple[str, PageServer], held: threading.Event) -> None:
    address, server = running
    post = f"{address}api/orders?scale=2&name="
    first, second = (requests.post(post + name, data=picture(), timeout=10).json() for name in ("a.png", "a.png"))
    assert (second["state"], second["ahead"]) == ("waiting", 1)
    assert requests.get(f"{address}api/orders/{second['id']}/result", timeout=10).status_code == 409
    held.set()
    told = [finished(address, order) for order in (first, second)]
    assert [(each["state"], each["result"]["name"], each["result"]["width"]) for each in told] == [
        ("done", "a_mair_x2.png", 32)
    ] * 2
    for side, width in (("before", 16), ("after", 32)):
        assert opened(requests.get(f"{address}api/orders/{first['id']}/{side}", timeout=10).content).width == width
    ids = [("id", first["id"]), ("id", second["id"]), ("id", "unknown")]
    packed = requests.get(f"{address}api/orders.zip", params=ids, timeout=10).content
    assert zipfile.ZipFile(io.BytesIO(packed)).namelist() == ["a_mair_x2.png", "a_mair_x2 (2).png"]
    assert zipfile.ZipFile(io.BytesIO(packed)).testzip() is None
    for order in (first, second):
        assert requests.delete(f"{address}api/orders/{order['id']}", timeout=10).status_code == 204
        assert requests.get(f"{address}api/orders/{order['id']}", timeout=10).status_code == 404
    assert left_behind(server) == []


def test_what_browsers_cannot_show_is_shown_as_webp(address: str) -> None:
    order = requests.post(f"{address}api/orders?scale=2&format=tiff", data=picture(form="TIFF"), timeout=10).json()
    assert finished(address, order)["result"]["name"] == "picture_mair_x2.tiff"
    for side in ("before", "after"):
        shown = requests.get(f"{address}api/orders/{order['id']}/{side}", timeout=10)
        assert (shown.headers["Content-Type"], opened(shown.content).format) == ("image/webp", "WEBP")
    requests.delete(f"{address}api/orders/{order['id']}", timeout=10)


def test_names_of_files_cannot_leave_their_folder(address: str) -> None:
    for name in ("../../etc/passwd", "..\\..\\boot.ini", "a\r\nSet-Cookie: x=y.png", "...", '"><script>.png'):
        answer = requests.post(f"{address}api/restore", params={"name": name, "scale": 2}, data=picture(), timeout=60)
        given = answer.headers["Content-Disposition"]
        assert answer.status_code == 200
        assert "Set-Cookie" not in answer.headers
        assert not set("/\\<>") & set(given), given
        assert given.count('"') == 2


def test_too_many_waiting_and_too_much_kept_are_refused_for_now(held: threading.Event) -> None:
    for settings in ({"most_waiting": 0}, {"most_kept": 0}):
        with serving(**settings) as (address, _):
            answer = requests.post(f"{address}api/restore", data=picture(), timeout=10)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")


def test_the_end_removes_everything_even_in_the_middle() -> None:
    with serving() as (address, server):
        for _ in range(3):
            requests.post(f"{address}api/orders", data=picture(200, 200), timeout=10)
        root = server.book.root
        assert root.is_dir()
    assert not root.exists()


def test_only_this_machine_can_reach_it_unless_told_otherwise() -> None:
    settings = ServerSettings(port=0)
    assert settings.is_local
    with listen(settings) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
        with pytest.raises(UsageError, match=r"address already in use.*`port` 0"):
            listen(ServerSettings(port=listener.getsockname()[1]))
    assert not ServerSettings(host="0.0.0.0").is_local


def test_a_server_for_others_takes_addresses_and_the_names_it_is_given() -> None:
    with serving(host="0.0.0.0", names=("studio.local",)) as (address, _):
        for host, status in (("10.0.0.7:80", 200), ("Studio.local", 200), ("evil.example", 403)):
            assert requests.get(f"{address}api/tasks", headers={"Host": host}, timeout=10).status_code == status


def test_the_tasks_say_what_is_missing_and_how_to_get_it(address: str) -> None:
    told = json.loads(requests.get(f"{address}api/tasks", timeout=10).text)
    problems = {task["task"]: task["problem"] for task in told["tasks"]}
    assert not any(problems[task] for task in ("sr", "denoise", "dejpeg", "deblur", "dehaze"))
    assert "mair download" in problems["real-denoise"]
