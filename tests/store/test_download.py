"""Whatever a server does, a target holds the whole right file or is not there, and the message says what happened."""

from __future__ import annotations

import gzip
import hashlib
import os
import resource
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_server import (
    Answer,
    FaultServer,
    Request,
    broken_off,
    dripping,
    first_then,
    redirect,
    right,
    silent,
    status,
    web_page,
    without_length,
)

from mair_cli.errors import DownloadError, OfflineError
from mair_cli.store.download import NotThereError, RetryPolicy, WebPageError, fetch_file
from mair_cli.store.files import check_space

DATA = bytes(range(256)) * 1200
SHA = hashlib.sha256(DATA).hexdigest()
HASTE = RetryPolicy(seconds=0.4, attempts=2, pause=0.01, longest_pause=0.05)


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAIR_OFFLINE", raising=False)


def fetch(server: FaultServer, target: Path, *, size: int | None = len(DATA), sha256: str | None = SHA) -> Path:
    return fetch_file(f"{server.address}/file", target, sha256=sha256, size=size, policy=HASTE)


def wrong_part(request: Request) -> None:
    """Answers the request for the rest with the right length from the wrong place."""
    if not request.offset:
        broken_off(DATA, 100_000)(request)
        return
    span = f"bytes 0-{len(DATA) - 1}/{len(DATA)}"
    request.whole(DATA[: len(DATA) - request.offset], {"Content-Range": span}, status=206)


def part_of_another_length(request: Request) -> None:
    if not request.offset:
        broken_off(DATA, 100_000)(request)
        return
    span = f"bytes {request.offset}-{len(DATA) + 9}/{len(DATA) + 10}"
    request.whole(b"x" * (len(DATA) + 10 - request.offset), {"Content-Range": span}, status=206)


def endless_zip(request: Request) -> None:
    request.whole(gzip.compress(b"\0" * 3_000_000), {"Content-Encoding": "gzip"})


def chunks_that_end_early(request: Request) -> None:
    request.head(200, {"Transfer-Encoding": "chunked"})
    request.body(b"10000\r\n" + DATA[:0x10000] + b"\r\n20000\r\n" + DATA[:10])


def no_http(request: Request) -> None:
    request.body(b"SSH-2.0-OpenSSH_9.9\r\n")


WRONG = bytes(reversed(DATA))
FAULTS: dict[str, tuple[Answer, str]] = {
    "400": (status(400), r"status 400"),
    "401": (status(401), r"access refused \(status 401"),
    "403": (status(403), r"access refused \(status 403"),
    "404": (status(404), r"no such file"),
    "410": (status(410), r"no such file"),
    "416": (status(416), r"another part"),
    "418": (status(418), r"makes no sense.*418"),
    "429": (status(429), r"too many requests"),
    "500": (status(500), r"server is in trouble"),
    "502": (status(502), r"server is in trouble"),
    "503": (status(503, headers={"Retry-After": "86400"}), r"server is in trouble"),
    "204 no content": (status(204), r"204"),
    "206 without being asked": (status(206, DATA[:10]), r"another part"),
    "web page with status 200": (web_page("<html>Sign in</html>"), r"web page"),
    "web page with status 403": (web_page("<html>Go away</html>", 403), r"access refused"),
    "web page called a file": (lambda r: r.whole(b"\n<!DOCTYPE html><html>hello</html>"), r"is 34 bytes long|web page"),
    "redirect to itself": (redirect("/file"), r"circles"),
    "redirect to ftp": (redirect("ftp://127.0.0.1/file"), r"neither http nor https"),
    "redirect to a local file": (redirect("file:///etc/passwd"), r"neither http nor https"),
    "redirect to nonsense": (redirect("http://[::1"), r"neither http nor https"),
    "redirect to nowhere": (redirect("http://127.0.0.1:1/file"), r"no connection"),
    "redirect without a place": (status(302), r"302"),
    "wrong bytes of the right length": (right(WRONG), r"SHA-256 [0-9a-f]{64} instead of " + SHA),
    "one wrong bit": (right(DATA[:-1] + b"\xfe"), r"SHA-256"),
    "too long": (right(DATA + b"x"), r"another file"),
    "too short": (right(DATA[:-1]), r"another file"),
    "too long, length not told": (without_length(DATA + b"x"), r"longer than"),
    "too short, length not told": (without_length(DATA[:-1]), r"another file"),
    "empty": (right(b""), r"another file|empty"),
    "empty, length not told": (lambda r: r.head(200), r"empty"),
    "early close": (broken_off(DATA, 1000), r"broke off"),
    "early close of chunks": (chunks_that_end_early, r"broke off"),
    "reset half-way": (broken_off(DATA, 1000, hard=True), r"broke off|no connection"),
    "reset at once": (lambda r: r.cut(), r"no connection|broke off"),
    "not http": (no_http, r"no connection|broke off"),
    "slow drip": (dripping(DATA, 3), r"hardly moves"),
    "silence": (silent(1), r"no answer within"),
    "silence half-way": (silent(1, before=DATA[:500], length=len(DATA)), r"no answer within|broke off"),
    "rest from another place": (wrong_part, r"another part"),
    "rest of another file": (part_of_another_length, r"another part|another file"),
    "zipped without being asked": (endless_zip, r"longer than"),
    "two lengths": (lambda r: r.whole(DATA, {"content-length": "7"}), r"broke off|another file|no connection"),
    "negative length": (
        without_length(DATA[:9], {"Content-Length": "-5"}),
        r"another file|broke off",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_leaves_a_file_and_each_is_told_in_one_line(fault: str, server: FaultServer, tmp_path: Path) -> None:
    server.answers["/file"], message = FAULTS[fault]
    with pytest.raises(DownloadError, match=message) as caught:
        fetch(server, tmp_path / "target")
    assert list(tmp_path.iterdir()) == []
    assert "\n" not in str(caught.value)
    assert server.address in str(caught.value)


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_harms_what_was_there(fault: str, server: FaultServer, tmp_path: Path) -> None:
    if fault in ("slow drip", "silence", "silence half-way"):
        pytest.skip("slow, and no different in this")
    (tmp_path / "target").write_bytes(b"precious")
    server.answers["/file"] = FAULTS[fault][0]
    with pytest.raises(DownloadError):
        fetch(server, tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"precious"
    assert len(list(tmp_path.iterdir())) == 1


RECOVERIES: dict[str, Answer] = {
    "at once": right(DATA),
    "without length": without_length(DATA),
    "after 503": first_then(status(503), right(DATA)),
    "after 429": first_then(status(429, headers={"Retry-After": "0"}), right(DATA)),
    "after an early close": first_then(broken_off(DATA, 100_000), right(DATA)),
    "after a reset": first_then(broken_off(DATA, 100_000, hard=True), right(DATA)),
    "after a silence": first_then(silent(1), right(DATA)),
    "when ranges are ignored": first_then(broken_off(DATA, 100_000), lambda r: r.whole(DATA)),
    "when the file changed meanwhile": first_then(broken_off(WRONG, 100_000, tag='"old"'), lambda r: r.whole(DATA)),
    "when it cannot be known to be the same": first_then(broken_off(WRONG, 100_000, tag='W/"weak"'), right(DATA)),
    "zipped": lambda r: r.whole(gzip.compress(DATA), {"Content-Encoding": "gzip"}),
    "through redirects": lambda r: redirect(f"/other{r.number}")(r),
}


@pytest.mark.parametrize("case", RECOVERIES)
def test_what_passes_is_overcome(case: str, server: FaultServer, tmp_path: Path) -> None:
    server.answers |= {"/file": RECOVERIES[case], "/other0": redirect("/other1", 307), "/other1": right(DATA)}
    assert fetch(server, tmp_path / "new" / "target").read_bytes() == DATA
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_an_interrupted_transfer_goes_on_where_it_was(server: FaultServer, tmp_path: Path) -> None:
    offsets = []

    def answer(request: Request) -> None:
        offsets.append(request.offset)
        if not request.offset:
            broken_off(DATA, 200_000)(request)
        else:
            right(DATA)(request)

    server.answers["/file"] = answer
    reports: list[tuple[int, int | None]] = []
    fetch_file(f"{server.address}/file", tmp_path / "t", progress=lambda *at: reports.append(at), policy=HASTE)
    assert offsets == [0, 200_000]
    assert (tmp_path / "t").read_bytes() == DATA
    assert reports[-1] == (len(DATA), len(DATA))
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)


def test_many_short_connections_that_each_bring_something_are_enough(server: FaultServer, tmp_path: Path) -> None:
    data = os.urandom(1_000_000)

    def answer(request: Request) -> None:
        rest = data[request.offset :]
        span = {"Content-Range": f"bytes {request.offset}-{len(data) - 1}/{len(data)}"} if request.offset else {}
        request.head(206 if request.offset else 200, {"Content-Length": str(len(rest)), "ETag": '"a"', **span})
        request.body(rest[:100_000])

    server.answers["/file"] = answer
    fetch_file(f"{server.address}/file", tmp_path / "t", sha256=hashlib.sha256(data).hexdigest(), policy=HASTE)
    assert len(server.seen) == 10


def test_an_answer_without_end_is_given_up(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flood(request: Request) -> None:
        request.head(200)
        for _ in range(64):
            request.body(b"\0" * 65536)

    monkeypatch.setattr("mair_cli.store.download.LARGEST", 1 << 20)
    server.answers["/file"] = flood
    with pytest.raises(DownloadError, match="longer than"):
        fetch(server, tmp_path / "t", size=None, sha256=None)


def test_a_missing_file_and_a_web_page_can_be_told_apart_by_callers(server: FaultServer, tmp_path: Path) -> None:
    with pytest.raises(NotThereError):
        fetch(server, tmp_path / "t")
    server.answers["/file"] = web_page("<html><title>Quota exceeded</title></html>")
    with pytest.raises(WebPageError) as caught:
        fetch(server, tmp_path / "t")
    assert "Quota exceeded" in caught.value.page


def test_nobody_answers(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(DownloadError, match=r"no connection .*refused.*tried 2 times"):
            fetch_file(f"http://127.0.0.1:{unused.getsockname()[1]}/f", tmp_path / "t", policy=HASTE)


@pytest.mark.parametrize(
    "url", ["ftp://a/b", "file:///etc/passwd", "C:/x", "http://", "http://[::1", "", "http://a b/"]
)
def test_addresses_that_are_none_are_refused_at_once(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError):
        fetch_file(url, tmp_path / "t", policy=HASTE)


@pytest.mark.parametrize("way", ["argument", "environment"])
def test_offline_opens_no_socket(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", forbidden)
    monkeypatch.setattr(socket, "create_connection", forbidden)
    if way == "environment":
        monkeypatch.setenv("MAIR_OFFLINE", "1")
    with pytest.raises(OfflineError, match="`offline`"):
        fetch_file("http://127.0.0.1:9/f", tmp_path / "t", offline=way == "argument")


def test_a_full_disk_is_told_before_anything_is_fetched(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: used._replace(free=1000))
    server.answers["/file"] = right(DATA)
    with pytest.raises(DownloadError, match="Too little space"):
        fetch(server, tmp_path / "t")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DownloadError, match="0 MB free"):
        check_space(tmp_path, 5)


def test_a_disk_that_fills_up_half_way_leaves_nothing(server: FaultServer, tmp_path: Path) -> None:
    server.answers["/file"] = right(DATA)
    code = f"""if True:
        import resource, signal
        from pathlib import Path
        from mair_cli.errors import DownloadError
        from mair_cli.store.download import fetch_file
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, {resource.RLIM_INFINITY}))
        try:
            fetch_file("{server.address}/file", Path("{tmp_path}/t"))
        except DownloadError as error:
            print(error)
        """
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert f"Cannot write to {tmp_path}" in told
    assert list(tmp_path.iterdir()) == []


def unwritable(tmp_path: Path) -> Path:
    (tmp_path / "plain").write_text("a file where a folder should be")
    return tmp_path / "plain" / "t"


def not_to_be_made(tmp_path: Path) -> Path:
    return Path("/proc/mair/t")


@pytest.mark.parametrize("place", [unwritable, not_to_be_made])
def test_a_folder_that_cannot_be_written_is_named(
    place: Callable[[Path], Path], server: FaultServer, tmp_path: Path
) -> None:
    server.answers["/file"] = right(DATA)
    with pytest.raises(DownloadError, match=r"Cannot write to .*MAIR_CACHE_DIR"):
        fetch(server, place(tmp_path))


def test_leavings_of_killed_processes_go_after_a_day_those_at_work_stay(server: FaultServer, tmp_path: Path) -> None:
    old, young = tmp_path / ".mair-99999999-0123456789ab.part", tmp_path / ".mair-99999999-ba9876543210.part"
    old.touch()
    young.touch()
    os.utime(old, (time.time() - 90_000,) * 2)
    server.answers["/file"] = right(DATA)
    fetch(server, tmp_path / "t")
    assert sorted(path.name for path in tmp_path.iterdir()) == [young.name, "t"]


@pytest.fixture
def protected(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    """A server reached by https, whose certificate is trusted."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusted = tmp_path_factory.mktemp("tls") / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    made = FaultServer(tls=context)
    yield made
    made.close()


def test_https_works_and_never_leads_to_plain_http(
    protected: FaultServer, server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["/file"] = protected.answers["/file"] = right(DATA)
    assert fetch(protected, tmp_path / "t").read_bytes() == DATA
    protected.answers["/file"] = redirect(f"{server.address}/file")
    with pytest.raises(DownloadError, match="unprotected http: refused"):
        fetch(protected, tmp_path / "t2")
    assert server.seen == []
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(DownloadError, match=r"certificate is not trusted \(certificate verify failed"):
        fetch(protected, tmp_path / "t2")
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def test_downloading_needs_no_torch() -> None:
    code = "import sys, mair_cli.store.download; sys.exit('torch' in sys.modules or 'requests' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("text", "seconds"), [("3", 3.0), ("0.5", 0.5), ("", 20.0), ("x", 20.0), ("-1", 20.0), ("nan", 20.0)]
)
def test_the_time_to_wait_can_be_set(text: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIR_TIMEOUT", text)
    assert RetryPolicy.from_environment().seconds == seconds
