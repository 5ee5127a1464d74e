"""Published weights come in whole, checked and converted, from whatever place has them, or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fault_server import Answer, FaultServer, Request, redirect, right, status, web_page
from published_files import SMALL, small_checkpoint, small_entry

from mair_cli.errors import CheckpointError, DownloadError, MairError, OfflineError, UsageError
from mair_cli.weights import hashes
from mair_cli.weights.cache import is_available, weights_file
from mair_cli.weights.catalog import DRIVE_FOLDER_ID, DRIVE_FOLDER_URL, find
from mair_cli.weights.checkpoint import load_checkpoint
from mair_cli.weights.choice import select
from mair_cli.weights.drive import fetch_from_drive
from mair_cli.weights.fetch import fetch, remove, verify
from mair_cli.weights.hashes import FileHash
from mair_cli.weights.safetensors_file import read_metadata
from mair_cli.weights.sources import parse_source

ENTRY = small_entry()
FILE = ENTRY.file


@pytest.fixture(autouse=True)
def cold_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, no mirrors, no patience, and no way out but to this machine."""
    monkeypatch.setenv("MAIR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("MAIR_TIMEOUT", "0.5")
    monkeypatch.delenv("MAIR_OFFLINE", raising=False)
    monkeypatch.delenv("MAIR_MIRROR", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.fixture
def original(tmp_path: Path) -> Path:
    (tmp_path / "theirs").mkdir()
    small_checkpoint(tmp_path / "theirs" / FILE)
    return tmp_path / "theirs" / FILE


def in_cache(tmp_path: Path) -> list[str]:
    found = [path.relative_to(tmp_path / "cache") for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    return sorted(str(path) for path in found if path.parts[0] != "locks")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def assert_like(original: Path) -> None:
    expected = torch.load(original, weights_only=True)["params"]
    loaded = load_checkpoint(weights_file(ENTRY))
    assert loaded.config.to_mapping().items() >= SMALL.items()
    assert all(torch.equal(loaded.state_dict[name], value) for name, value in expected.items())
    verify(ENTRY)


@pytest.mark.parametrize("place", ["file", "file of another name", "folder", "address", "address of the file"])
def test_weights_come_from_every_kind_of_place(place: str, original: Path, server: FaultServer, tmp_path: Path) -> None:
    shutil.copy(original, tmp_path / "downloaded (1).pth")
    server.answers[f"/deep/{FILE}"] = right(original.read_bytes())
    source = {
        "file": str(original),
        "file of another name": str(tmp_path / "downloaded (1).pth"),
        "folder": str(original.parent),
        "address": f"{server.address}/deep/",
        "address of the file": f"{server.address}/deep/{FILE}",
    }[place]
    reports: list[tuple[int, int | None]] = []
    fetched = fetch(ENTRY, source=source, progress=lambda *at: reports.append(at))
    assert fetched.first_seen
    assert fetched.original == FileHash(sha256(original), original.stat().st_size)
    assert reports[-1] == (original.stat().st_size, original.stat().st_size)
    assert_like(original)
    metadata = read_metadata(fetched.path)
    assert metadata["source_sha256"] == sha256(original)
    assert "no licence" in metadata["licence"]
    assert str(tmp_path) not in str(metadata)
    assert in_cache(tmp_path) == ["weights/hashes/mair-t-x4.json", "weights/mair-t-x4.safetensors"]
    assert select("sr", scale=4).name == "mair-t-x4"


def test_a_hugging_face_repository_is_understood(
    original: Path, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    server.answers[f"/someone/mair-weights/resolve/main/{FILE}"] = redirect(f"/cdn/{FILE}")
    server.answers[f"/cdn/{FILE}"] = right(original.read_bytes())
    fetch(ENTRY, source="someone/mair-weights")
    assert_like(original)
    server.answers["/a/b/resolve/v2/" + FILE] = right(original.read_bytes())
    fetch(ENTRY, source="hf://a/b@v2")


@pytest.mark.parametrize(
    "text", ["./nowhere", "/not/there.pth", "folder/missing.pth", "word", "ftp://a/b", "a/b/c", ""]
)
def test_a_source_that_is_none_says_what_could_be_one(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--from .*Hugging Face repository"):
        parse_source(text, "--from")


@pytest.mark.parametrize(
    "text", ["http://[::1/", "https://", "http://host:port/f", "http://h:99999/f.pth", "HTTP:///f"]
)
@pytest.mark.parametrize("flag", ["`from`", "MAIR_MIRROR", "HF_ENDPOINT"])
def test_an_address_that_is_none_is_a_usage_error(text: str, flag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if flag != "`from`":
        monkeypatch.setenv(flag, text)
    with pytest.raises(UsageError, match=rf"^{flag} .*not a web address"):
        fetch(ENTRY, source=text if flag == "`from`" else "a/b" if flag == "HF_ENDPOINT" else None)


def test_secrets_in_addresses_are_never_shown(
    original: Path, server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    host = server.address.removeprefix("http://")
    query = f"token=secret&signature={'secret' * 50}"  # longer than any file's name
    answers = [
        status(404),
        status(403),
        status(503),
        right(b"x"),
        web_page("<html>hello"),
        redirect("ftp://u:secret@h"),
    ]
    for answer in answers:
        server.answers[f"/{FILE}?{query}"] = answer
        with pytest.raises(DownloadError) as caught:
            fetch(ENTRY, source=f"http://me:secret@{host}/{FILE}?{query}")
        assert "secret" not in str(caught.value)
        assert f"http://***@{host}/{FILE}?token=***" in str(caught.value)
    server.answers[f"/{FILE}?{query}"] = right(original.read_bytes())
    fetched = fetch(ENTRY, source=f"http://me:secret@{host}/{FILE}?{query}")
    assert fetched.source == f"http://***@{host}/{FILE}?token=***&signature=***"
    assert "secret" not in str(read_metadata(fetched.path))
    with pytest.raises(UsageError) as wrong:
        fetch(ENTRY, source="htp://me:secret@host/f?token=secret")
    assert "secret" not in str(wrong.value)
    assert caplog.messages
    assert "secret" not in "".join(record.getMessage() for record in caplog.records if record.name.startswith("mair"))


def test_mirrors_are_tried_in_order_and_the_named_place_first(
    original: Path, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = FaultServer()
    monkeypatch.setenv("MAIR_MIRROR", f"{server.address}/empty {server.address}/broken {server.address}/good")
    server.answers[f"/broken/{FILE}"] = right(b"nonsense" * 100)
    server.answers[f"/good/{FILE}"] = right(original.read_bytes())
    fetched = fetch(ENTRY, source=other.address)
    assert fetched.source == f"{server.address}/good"
    assert other.seen[0] == f"/{FILE}"
    assert [path.split("/")[1] for path in dict.fromkeys(server.seen)] == ["empty", "empty", "broken", "good"]
    other.close()


def test_weights_that_are_here_are_not_fetched_again(original: Path, server: FaultServer) -> None:
    server.answers[f"/{FILE}"] = right(original.read_bytes())
    fetch(ENTRY, source=server.address)
    seen = len(server.seen)
    assert fetch(ENTRY).source is None
    assert len(server.seen) == seen


BAD_FILES: dict[str, Answer] = {
    "cut short": lambda r: r.whole(b"PK\x03\x04" + bytes(300)),
    "html": web_page("<html>Log in</html>"),
    "404": status(404),
    "empty": right(b""),
    "pickle that runs code": right(b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R."),
}


@pytest.mark.parametrize("fault", BAD_FILES)
def test_a_bad_file_leaves_nothing_and_says_how_to_do_it_by_hand(
    fault: str, server: FaultServer, tmp_path: Path
) -> None:
    server.answers[f"/{FILE}"] = BAD_FILES[fault]
    with pytest.raises(DownloadError) as caught:
        fetch(ENTRY, source=server.address)
    message = str(caught.value)
    assert DRIVE_FOLDER_URL in message
    assert f"`mair download mair-t-x4 --from {FILE}`" in message
    assert message.count("\n") == 1
    assert str(tmp_path) not in message
    assert in_cache(tmp_path) == []
    assert not is_available(ENTRY)


def test_weights_of_another_network_are_not_taken(original: Path, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"not taken from .*MaIR_T_lightSR_x4.pth does not fit"):
        fetch(find("mair-dh-its"), source=str(original))
    assert in_cache(tmp_path) == []


# The hash first seen.


def test_a_changed_file_is_refused_with_both_hashes_until_accepted(original: Path, tmp_path: Path) -> None:
    fetch(ENTRY, source=str(original))
    first = sha256(original)
    small_checkpoint(original, seed=1)
    second = sha256(original)
    remove(ENTRY)
    with pytest.raises(DownloadError, match=rf"SHA-256 {second}.* instead of {first}.*`accept_changed`"):
        fetch(ENTRY, source=str(original))
    assert not is_available(ENTRY)
    fetched = fetch(ENTRY, source=str(original), accept_changed=True)
    assert hashes.known(ENTRY) == fetched.original
    assert_like(original)


def test_the_first_of_many_to_record_a_hash_wins(tmp_path: Path) -> None:
    seen = [FileHash(f"{number:064x}", number) for number in range(20)]
    answers: list[FileHash] = []
    threads = [
        threading.Thread(target=lambda one=one: answers.append(hashes.trust_on_first_use(ENTRY, one))) for one in seen
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 20
    assert set(answers) == {hashes.known(ENTRY)}
    assert in_cache(tmp_path) == ["weights/hashes/mair-t-x4.json"]


DAMAGED_RECORDS = {
    "cut short": b"{",
    "empty": b"",
    "of another kind": b"[1, 2]",
    "without size": b'{"sha256": "' + b"a" * 64 + b'"}',
    "of a hash that is none": b'{"sha256": "x", "size": 5}',
    "of a hash that is a number": b'{"sha256": 5, "size": 5}',
    "of a size that is none": b'{"sha256": "' + b"a" * 64 + b'", "size": "5"}',
    "not text": bytes(range(256)),
    "nested deep": b"[" * 100_000,
}


@pytest.mark.parametrize("kind", DAMAGED_RECORDS)
def test_a_damaged_record_is_told_once_and_replaced_by_the_next_file(
    kind: str, original: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fetch(ENTRY, source=str(original))
    record = weights_file(ENTRY).parent / "hashes" / "mair-t-x4.json"
    record.write_bytes(DAMAGED_RECORDS[kind])
    assert hashes.known(ENTRY) is None
    assert hashes.checked_file(ENTRY) == weights_file(ENTRY)
    fetch(ENTRY, source=str(original))
    assert len(caplog.messages) == 1
    assert "sets the hash anew" in caplog.messages[0]
    assert hashes.known(ENTRY) == FileHash(sha256(original), original.stat().st_size)


@pytest.mark.parametrize("place", ["file", "folder"])
def test_where_no_record_can_be_written_weights_come_all_the_same(
    place: str, original: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = weights_file(ENTRY).parent / "hashes"
    if place == "file":
        records.parent.mkdir(parents=True)
        records.touch()
    else:
        (records / "mair-t-x4.json").mkdir(parents=True)
    fetch(ENTRY, source=str(original))
    fetch(ENTRY, source=str(original), accept_changed=True)
    assert hashes.checked_file(ENTRY) == weights_file(ENTRY)
    assert_like(original)
    assert any("cannot be written" in message for message in caplog.messages)
    assert len(caplog.messages) == len(set(caplog.messages)) <= 2


def test_weights_exchanged_behind_our_back_are_noticed_on_every_load(original: Path, tmp_path: Path) -> None:
    fetch(ENTRY, source=str(original))
    assert hashes.checked_file(ENTRY) == weights_file(ENTRY)
    small_checkpoint(original, seed=1)
    kept = weights_file(ENTRY).read_bytes()
    fetch(ENTRY, source=str(original), accept_changed=True)
    weights_file(ENTRY).write_bytes(kept)
    with pytest.raises(CheckpointError, match=r"another file than the one first seen.*--remove"):
        hashes.checked_file(ENTRY)


def test_one_changed_byte_in_kept_weights_is_noticed(original: Path) -> None:
    fetch(ENTRY, source=str(original))
    data = bytearray(weights_file(ENTRY).read_bytes())
    data[-2] ^= 1
    weights_file(ENTRY).write_bytes(data)
    with pytest.raises(CheckpointError, match="checksum"):
        verify(ENTRY)
    with pytest.raises(CheckpointError, match="checksum"):
        load_checkpoint(weights_file(ENTRY))


def test_equal_files_convert_to_equal_bytes(original: Path) -> None:
    first = fetch(ENTRY, source=str(original)).path.read_bytes()
    assert fetch(ENTRY, source=str(original)).path.read_bytes() == first


# No network, no room, no rights.


def test_offline_takes_files_and_folders_and_opens_no_socket(original: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", forbidden)
    monkeypatch.setattr(socket, "create_connection", forbidden)
    with pytest.raises(OfflineError, match=r"`offline`.*\nBy hand"):
        fetch(ENTRY, offline=True)
    monkeypatch.setenv("MAIR_OFFLINE", "1")
    with pytest.raises(OfflineError):
        fetch(ENTRY, source="http://127.0.0.1:9/")
    with pytest.raises(OfflineError):
        fetch_from_drive(ENTRY, original, None)
    monkeypatch.setenv("MAIR_MIRROR", f"http://127.0.0.1:9/ {original.parent}")
    fetch(ENTRY)
    assert_like(original)


def test_a_cache_that_cannot_be_written_is_named(original: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (original, "/proc/mair"):  # under a file; and where even root cannot write
        monkeypatch.setenv("MAIR_CACHE_DIR", f"{place}/cache")
        with pytest.raises(DownloadError, match=r"Cannot write to .*MAIR_CACHE_DIR"):
            fetch(ENTRY, source=str(original))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_cache_is_named(original: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=0o500)
    with pytest.raises(DownloadError, match="Cannot write to"):
        fetch(ENTRY, source=str(original))


def test_a_full_disk_is_told_and_leaves_nothing(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: used._replace(free=100))
    with pytest.raises(DownloadError, match="Too little space"):
        fetch(ENTRY, source=str(original))
    assert in_cache(tmp_path) == []


def test_bundled_weights_are_neither_fetched_nor_removed() -> None:
    bundled = find("mair-lite-x4")
    assert fetch(bundled).path == weights_file(bundled)
    with pytest.raises(UsageError, match="ships with the package"):
        remove(bundled)
    with pytest.raises(UsageError, match="reinstall"):
        fetch(dataclasses.replace(bundled, name="mair-lite-x9"))


def test_removing_keeps_the_hash(original: Path) -> None:
    fetch(ENTRY, source=str(original))
    assert remove(ENTRY)
    assert not remove(ENTRY)
    assert hashes.known(ENTRY) is not None


# Google Drive, by real code on both sides of a proxy that leads every host to a server of ours.


class Tunnel:
    """An https proxy that leads every connection to one local port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.hosts: list[str] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._lead, args=(client,), daemon=True).start()

    def _lead(self, client: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += client.recv(4096)
        self.hosts.append(request.split()[1].decode())
        far = socket.create_connection(("127.0.0.1", self.port))
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        threading.Thread(target=self._copy, args=(far, client), daemon=True).start()
        self._copy(client, far)

    @staticmethod
    def _copy(one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@pytest.fixture
def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    """What answers for every Google host."""
    import ssl

    from mair_cli.weights.drive import _folder_listing

    trustme = pytest.importorskip("trustme")
    pytest.importorskip("gdown")
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("drive.google.com", "drive.usercontent.google.com", "docs.google.com").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    server = FaultServer(tls=context)
    tunnel = Tunnel(server.server.server_address[1])
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    monkeypatch.setenv("HTTPS_PROXY", tunnel.address)
    monkeypatch.delenv("https_proxy", raising=False)
    _folder_listing.cache_clear()
    yield server
    _folder_listing.cache_clear()
    tunnel.listener.close()
    server.close()


KNOWN = dataclasses.replace(ENTRY, drive_id="1234567890123456789012345")
ASK = f"/uc?export=download&id={KNOWN.drive_id}"
CONFIRMATION = (
    '<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body><form id="download-form" '
    'action="https://drive.usercontent.google.com/download" method="get"><input type="hidden" name="id" value="1234">'
    '<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="u-1"></form></body></html>'
)
QUOTA = (
    '<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body><p class="uc-error-caption">'
    "Sorry, you can't view or download this file at this time.</p>"
    '<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently.</p></body></html>'
)


def test_a_known_file_comes_from_drive_behind_its_confirmation(drive: FaultServer, original: Path) -> None:
    drive.answers[ASK] = redirect("https://drive.usercontent.google.com/ask", 303)
    drive.answers["/ask"] = web_page(CONFIRMATION)
    drive.answers["/download?id=1234&confirm=t&uuid=u-1"] = right(original.read_bytes())
    fetched = fetch(KNOWN)
    assert fetched.source == "the authors' Google Drive"
    assert_like(original)


def listing(*names: str) -> Answer:
    links = "".join(
        f'<div class="flip-entry"><a href="https://drive.google.com/file/d/{i:025d}/view?usp=drive_web">'
        f'<div class="flip-entry-title">{name}</div></a></div>'
        for i, name in enumerate(names)
    )
    return web_page(f"<html><head><title>MaIR</title></head><body>{links}</body></html>")


def test_other_files_are_found_by_listing_the_folder(drive: FaultServer, original: Path) -> None:
    drive.answers[f"/embeddedfolderview?id={DRIVE_FOLDER_ID}"] = listing("readme.txt", "MaIR_SR_x2.pth", FILE)
    drive.answers[f"/uc?export=download&id={2:025d}"] = right(original.read_bytes())
    fetch(ENTRY)
    assert_like(original)


def endless_confirmation(request: Request) -> None:
    web_page(CONFIRMATION)(request)


DRIVE_FAULTS: dict[str, tuple[dict[str, Answer], str]] = {
    "quota page": ({ASK: web_page(QUOTA)}, "quota is used up"),
    "quota page behind the confirmation": ({ASK: web_page(CONFIRMATION), "/download": web_page(QUOTA)}, "quota"),
    "quota page with status 403": ({ASK: web_page(QUOTA, 403)}, "quota is used up"),
    "confirmation without end": ({ASK: web_page(CONFIRMATION), "/download": web_page(CONFIRMATION)}, "again and again"),
    "login page": ({ASK: web_page('<html><form action="/ServiceLogin"></form></html>')}, "login"),
    "robot check": ({ASK: web_page("<html>Our systems have detected unusual traffic</html>", 403)}, "robot"),
    "other page": ({ASK: web_page("<html>Hello</html>")}, "web page in place"),
    "page that leads elsewhere": (
        {ASK: web_page(CONFIRMATION.replace("drive.usercontent.google.com", "evil.example"))},
        "leads elsewhere",
    ),
    "gone": ({ASK: status(404)}, "no such file"),
    "too many requests": ({ASK: status(429)}, "too many requests"),
    "redirects in circles": ({ASK: redirect(ASK)}, "circles"),
    "redirect to plain http": ({ASK: redirect("http://drive.google.com/x")}, "unprotected http"),
    "another file": ({ASK: right(b"PK\x03\x04" + bytes(1000))}, "damaged"),
}


@pytest.mark.parametrize("fault", DRIVE_FAULTS)
def test_what_drive_says_instead_of_the_file_is_told_in_plain_words(
    fault: str, drive: FaultServer, tmp_path: Path
) -> None:
    answers, words = DRIVE_FAULTS[fault]
    drive.answers |= answers
    with pytest.raises(DownloadError, match=words) as caught:
        fetch(KNOWN)
    assert DRIVE_FOLDER_URL in str(caught.value)
    assert f"--from {FILE}" in str(caught.value)
    assert in_cache(tmp_path) == []


LISTING_FAULTS: dict[str, tuple[Answer, str]] = {
    "file not listed": (listing("other.pth"), f"lists no {FILE}"),
    "no folder": (status(404), "cannot be listed"),
    "another page": (web_page("<html></html>"), "cannot be listed"),
    "closed connection": (lambda r: r.cut(), r"cannot be listed \(no connection"),
}


@pytest.mark.parametrize("fault", LISTING_FAULTS)
def test_a_folder_that_cannot_be_listed_is_told(fault: str, drive: FaultServer, tmp_path: Path) -> None:
    drive.answers[f"/embeddedfolderview?id={DRIVE_FOLDER_ID}"], words = LISTING_FAULTS[fault]
    with pytest.raises(DownloadError, match=words):
        fetch(ENTRY)
    assert in_cache(tmp_path) == []


def test_without_gdown_the_way_by_hand_and_the_package_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(DownloadError, match=r"pip install 'gdown>=6.3'.*\nBy hand"):
        fetch(dataclasses.replace(ENTRY, name="mair-t-x3", file="MaIR_T_lightSR_x3.pth"))


# Many hands, and sudden ends.


def processes(what: str, mirror: str, count: int) -> str:
    script = Path(__file__).with_name("fetching_processes.py")
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(script), what, mirror, str(count)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MAIR_TIMEOUT": "20"},
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    return done.stdout


def gently(data: bytes) -> Answer:
    """In pieces with pauses, so that there is time to be in the middle of it."""

    def answer(request: Request) -> None:
        request.head(200, {"Content-Length": str(len(data)), "ETag": '"a"'})
        for start in range(0, len(data), 20_000):
            request.body(data[start : start + 20_000])
            time.sleep(0.002)

    return answer


@pytest.mark.parametrize(
    ("what", "count"),
    [("together", 32), ("together-unlocked", 12), pytest.param("together-unlocked", 32, marks=pytest.mark.slow)],
)
def test_many_processes_may_start_on_a_cold_cache_even_where_locks_do_nothing(
    what: str, count: int, original: Path, server: FaultServer, tmp_path: Path
) -> None:
    server.answers[f"/{FILE}"] = gently(original.read_bytes())
    processes(what, server.address, count)
    assert_like(original)
    assert in_cache(tmp_path) == ["weights/hashes/mair-t-x4.json", "weights/mair-t-x4.safetensors"]
    fetched = len(server.seen) - 1  # one to warm up
    assert fetched == 1 if what == "together" else fetched > 1


@pytest.mark.parametrize("count", [15, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_at_any_moment_the_next_run_works(
    count: int, original: Path, server: FaultServer, tmp_path: Path
) -> None:
    server.answers[f"/{FILE}"] = gently(original.read_bytes())
    interrupted = int(processes("killed", server.address, count))
    assert interrupted >= count // 3  # or nothing was tested
    assert_like(original)
    left = [name for name in in_cache(tmp_path) if not name.endswith(".part")]
    assert left == ["weights/hashes/mair-t-x4.json", "weights/mair-t-x4.safetensors"]


def test_every_error_of_fetching_is_one_for_people() -> None:
    assert issubclass(DownloadError, MairError)
