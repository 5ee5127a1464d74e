"""Reports replace earlier reports of their kind, and nothing else; what they hold is whole and readable."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from test_report import _report

from mair_cli.benchmark.page import Layer, Slider, render
from mair_cli.benchmark.report import render_csv, render_json
from mair_cli.benchmark.report_files import ReportKind, check_report_file, write_report
from mair_cli.benchmark.report_tables import render_latex, render_markdown
from mair_cli.errors import MairError, UsageError

KINDS: tuple[ReportKind, ...] = ("html", "json", "csv", "markdown", "latex")


def _text(kind: ReportKind, photograph: np.ndarray) -> str:
    if kind == "html":
        layers = [Layer("a", photograph), Layer("b", photograph)]
        return render("comparison.html", title="x" * 200, notes=[], slider=Slider("s", layers))
    renderers = {"json": render_json, "csv": render_csv, "markdown": render_markdown, "latex": render_latex}
    return renderers[kind](_report())


@pytest.mark.parametrize("kind", KINDS)
def test_report_replaces_an_earlier_one_of_its_kind_an_empty_file_and_nothing_else(
    kind: ReportKind, tmp_path: Path, photograph: np.ndarray
) -> None:
    for earlier in KINDS:
        path = tmp_path / f"{kind}-over-{earlier}"
        write_report(path, _text(earlier, photograph))
        if earlier == kind:
            check_report_file(path, kind)
        else:
            with pytest.raises(UsageError, match="not overwritten"):
                check_report_file(path, kind)
    empty = tmp_path / "empty"
    empty.touch()
    check_report_file(empty, kind)
    check_report_file(tmp_path / "new" / "folder" / "report", kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n",
        b"<!doctype html><title>diary</title>",
        b'{"generator": "another tool"}',
        b"dataset,task,price\n",
        b" ",
        b"\xff" * 5000 + b'{"generator": "mair-cli',
    ],
)
def test_what_others_made_is_not_overwritten(kind: ReportKind, content: bytes, tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(content)
    link.symlink_to(path)
    for name in (path, link):
        with pytest.raises(UsageError, match="not overwritten") as caught:
            check_report_file(name, kind)
        assert caught.value.exit_code == 2
    assert path.read_bytes() == content


@pytest.mark.parametrize("way", ["same", "relative", "symbolic", "hard"])
def test_input_is_refused_by_whatever_name_even_where_it_is_empty(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, other = tmp_path / "source.png", tmp_path / "other"
    source.touch()
    if way == "symbolic":
        other.symlink_to(source)
    elif way == "hard":
        os.link(source, other)
    monkeypatch.chdir(tmp_path)
    path = {"same": source, "relative": Path("./source.png")}.get(way, other)
    with pytest.raises(UsageError, match="input"):
        check_report_file(path, "html", [tmp_path / "absent", source])


def test_places_that_cannot_hold_a_report_are_told_beforehand(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "r.json", tmp_path / ("n" * 300), Path(os.devnull)):
        with pytest.raises(UsageError):
            check_report_file(path, "json")


def test_half_written_report_never_exists(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.json"
    write_report(path, "one")
    write_report(path, "two")
    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(MairError, match=r"report\.json"):
        write_report(path / "below.json", "three")


def test_link_to_a_report_stays_a_link(tmp_path: Path) -> None:
    link = tmp_path / "latest.json"
    link.symlink_to("report-1.json")
    write_report(link, "one")
    write_report(link, "two")
    assert link.is_symlink()
    assert (tmp_path / "report-1.json").read_text() == "two"


def test_undecodable_bytes_of_names_are_written_and_read_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \x80.png")
    path = tmp_path / "r.json"
    write_report(path, json.dumps({"image": name}, ensure_ascii=False))
    assert json.loads(path.read_text("utf-8"))["image"] == name
    write_report(path, name)
    assert path.read_text("utf-8") == r"caf\udce9 \udc80.png"
