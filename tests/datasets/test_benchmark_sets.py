"""The catalogue is sound; sets are found where they lie, and fetched whole and right, or not at all."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_server import FaultServer, Request, right, status, web_page, without_length

from mair_cli.datasets.benchmark_sets import (
    BenchmarkSet,
    CatalogueFile,
    LocatedSet,
    catalogue,
    fetch_set,
    find_set,
    locate_set,
    verify,
)
from mair_cli.datasets.pairs import find_samples
from mair_cli.errors import DownloadError, OfflineError, UsageError

CONTENT = {
    f"image_SRF_4/a{number}_SRF_4_{kind}.png": f"{number}{kind}".encode() * 50
    for number in (1, 2, 3)
    for kind in ("HR", "LR")
}
SOURCE = "/someone/sets/0123abc/data/Toy"


def _toy(content: dict[str, bytes] = CONTENT) -> BenchmarkSet:
    files = tuple(
        CatalogueFile(path, len(data), hashlib.sha256(data).hexdigest(), f"{SOURCE[1:]}/{path}")
        for path, data in content.items()
    )
    return BenchmarkSet("Toy", 3, ("sr",), (), "made for this test", "free", files)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    running = FaultServer(answers={f"{SOURCE}/{path}": right(data) for path, data in CONTENT.items()})
    monkeypatch.setenv("MAIR_DATA_URL", running.address)
    monkeypatch.setenv("MAIR_TIMEOUT", "0.5")
    monkeypatch.delenv("MAIR_OFFLINE", raising=False)
    monkeypatch.delenv("MAIR_DATA_DIR", raising=False)
    yield running
    running.close()


def _fetch(target: Path, scale: int = 4, offline: bool = False) -> None:
    fetch_set(_toy(), target, task="sr", scale=scale, offline=offline)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ------------------------------------------------------------------------------------------ catalogue


@pytest.mark.parametrize(
    ("name", "images", "files"),
    [
        ("Set5", 5, 30),
        ("Set14", 14, 84),
        ("BSD100", 100, 600),
        ("Urban100", 100, 200),
        ("Manga109", 109, 0),
        ("DIV2K-val", 100, 0),
        ("CBSD68", 68, 68),
        ("Kodak24", 24, 24),
        ("McMaster", 18, 18),
    ],
)
def test_every_set_is_complete_in_the_catalogue(name: str, images: int, files: int) -> None:
    entry = catalogue()[name]
    assert (entry.images, len(entry.files)) == (images, files)
    assert entry.how if not files else not entry.how
    for file in entry.files:
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert file.size > 0
        assert re.fullmatch(r"[\w.-]+/[\w.-]+/[0-9a-f]{40}/.+", file.source)
        assert ".." not in file.path


def test_catalogue_equals_the_files_on_this_machine(corpus: Path) -> None:
    compared = 0
    for entry in catalogue().values():
        for file in entry.files:
            path = corpus / "bench" / entry.name / file.path
            if path.is_file() and path.stat().st_size < 200_000:  # the small ones: hashing all takes seconds
                assert hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256
                compared += 1
    assert compared > 50


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("set5", "Set5"),
        ("BSDS100", "BSD100"),
        ("b100", "BSD100"),
        ("DIV2K", "DIV2K-val"),
        ("McM", "McMaster"),
        ("x", ""),
    ],
)
def test_sets_are_found_under_the_spellings_that_papers_use(spelling: str, name: str) -> None:
    found = find_set(spelling)
    assert (found.name if found else "") == name


@pytest.mark.parametrize(
    ("name", "task", "scale", "count"),
    [
        ("Set5", "sr", 3, 10),
        ("Urban100", "sr", 4, 200),
        ("Urban100", "sr", 2, 100),
        ("Urban100", "denoise", 1, 100),
        ("Set5", "denoise", 1, 5),
        ("CBSD68", "denoise", 1, 68),
    ],
)
def test_only_the_files_that_a_task_needs_are_asked_for(name: str, task: str, scale: int, count: int) -> None:
    assert len(catalogue()[name].files_for(task, scale)) == count


# ------------------------------------------------------------------------------------------ finding


def test_data_folder_comes_before_everything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("data/set5", "other/Set5", "Set5"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setenv("MAIR_DATA_DIR", str(tmp_path / "other"))
    given = locate_set("Set5", task="sr", scale=4, data_dir=tmp_path / "data")
    assert (given.folder, given.name, given.origin) == (tmp_path / "data" / "set5", "Set5", "data folder")
    assert locate_set("Set5", task="sr", scale=4).folder == tmp_path / "other" / "Set5"
    monkeypatch.delenv("MAIR_DATA_DIR")
    assert locate_set("Set5", task="sr", scale=4).origin == "folder"


def test_any_folder_will_do_and_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAIR_DATA_DIR", raising=False)
    folder = tmp_path / "holiday"
    folder.mkdir()
    located = locate_set(str(folder), task="sr", scale=4)
    assert (located.name, located.known) == ("holiday", None)


def test_what_cannot_be_found_says_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAIR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("MAIR_DATA_DIR", raising=False)
    with pytest.raises(UsageError, match="Known sets: Set5"):
        locate_set("Set6", task="sr", scale=4)
    with pytest.raises(UsageError, match=r"manga109\.org"):
        locate_set("Manga109", task="sr", scale=4)
    with pytest.raises(UsageError, match="`data_dir`"):
        locate_set("Set5", task="sr", scale=4, data_dir=tmp_path / "nowhere")
    with pytest.raises(OfflineError, match="10 of 10 files"):
        locate_set("Set5", task="sr", scale=4, offline=True)


def test_verification_names_files_that_are_not_the_published_ones(tmp_path: Path) -> None:
    for path, data in CONTENT.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(data)
    changed = tmp_path / "image_SRF_4" / "a2_SRF_4_LR.png"
    changed.write_bytes(b"another")
    paths = [tmp_path / path for path in CONTENT]
    assert verify(LocatedSet("Toy", tmp_path, _toy(), "folder"), paths) == (5, 6, [changed])
    assert verify(LocatedSet("Mine", tmp_path, None, "folder"), paths) == (0, 0, [])


# ------------------------------------------------------------------------------------------ fetching


def test_fetched_set_is_complete_and_is_not_fetched_again(server: FaultServer, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    fetch_set(_toy(), tmp_path, task="sr", scale=4, progress=lambda done, total: steps.append((done, total)))
    assert _files(tmp_path) == CONTENT
    assert steps == [(done, 6) for done in range(7)]
    assert [sample.name for sample in find_samples(tmp_path, "sr", 4).samples] == ["a1", "a2", "a3"]
    asked = len(server.seen)
    _fetch(tmp_path, offline=True)
    assert len(server.seen) == asked


def test_named_set_goes_to_the_cache(
    server: FaultServer, tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAIR_CACHE_DIR", str(tmp_path / "cache"))
    for file in catalogue()["Set5"].files_for("sr", 4):
        server.answers["/" + file.source] = right((corpus / "bench" / "Set5" / file.path).read_bytes())
    located = locate_set("Set5", task="sr", scale=4)
    assert located.folder == tmp_path / "cache" / "benchmarks" / "Set5"
    assert len(find_samples(located.folder, "sr", 4).samples) == 5


def test_damaged_file_is_fetched_anew_and_the_others_are_not(server: FaultServer, tmp_path: Path) -> None:
    _fetch(tmp_path)
    name = "image_SRF_4/a2_SRF_4_HR.png"
    (tmp_path / name).write_bytes(CONTENT[name][:-1] + b"!")
    server.seen.clear()
    _fetch(tmp_path)
    assert server.seen == [f"{SOURCE}/{name}"]
    assert _files(tmp_path) == CONTENT


def _flipped(data: bytes) -> bytes:
    return data[:-1] + b"?"


def _break_off(request: Request) -> None:
    request.head(200, {"Content-Length": "100"})
    request.body(b"1234")
    request.cut()


WRONG = {
    "another content": right(_flipped(CONTENT["image_SRF_4/a2_SRF_4_HR.png"])),
    "too short": right(b"short"),
    "too long": right(CONTENT["image_SRF_4/a2_SRF_4_HR.png"] * 2),
    "nothing": right(b""),
    "a web page": web_page("<html>Sign in</html>"),
    "a web page said to be an image": without_length(b"<!DOCTYPE html><p>Sorry</p>"),
    "not there": status(404),
    "forbidden": status(403),
    "out of order": status(500),
    "an answer that breaks off": _break_off,
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_answer_is_an_error_and_leaves_only_right_files(wrong: str, server: FaultServer, tmp_path: Path) -> None:
    name = "image_SRF_4/a2_SRF_4_HR.png"
    server.answers[f"{SOURCE}/{name}"] = WRONG[wrong]
    with pytest.raises(DownloadError, match=r"Toy: .*2 of 6 missing files came; the same command goes on from there"):
        _fetch(tmp_path)
    here = _files(tmp_path)
    assert here == {path: CONTENT[path] for path in list(CONTENT)[:2]}
    server.answers[f"{SOURCE}/{name}"] = right(CONTENT[name])
    server.seen.clear()
    _fetch(tmp_path)
    assert _files(tmp_path) == CONTENT
    assert len(server.seen) == 4


def test_passing_trouble_is_got_over(server: FaultServer, tmp_path: Path) -> None:
    name = "image_SRF_4/a1_SRF_4_HR.png"

    def answer(request: Request) -> None:
        (status(503) if request.number == 0 else right(CONTENT[name]))(request)

    server.answers[f"{SOURCE}/{name}"] = answer
    _fetch(tmp_path)
    assert _files(tmp_path) == CONTENT


def test_nothing_is_asked_for_offline(server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OfflineError, match="6 of 6 files"):
        _fetch(tmp_path, offline=True)
    monkeypatch.setenv("MAIR_OFFLINE", "1")
    with pytest.raises(OfflineError):
        _fetch(tmp_path)
    assert server.seen == []
