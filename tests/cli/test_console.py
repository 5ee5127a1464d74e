"""What is printed where, and in what form."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from mair_cli.cli import console
from mair_cli.errors import NOTICE


@pytest.fixture(autouse=True)
def _normal_loudness() -> None:
    console.configure()


def test_messages_go_to_stderr_and_data_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    console.note("working")
    console.error("broken")
    console.out("data")
    captured = capsys.readouterr()
    assert captured.out == "data\n"
    assert captured.err == "working\nerror: broken\n"


def test_quiet_leaves_errors_only(capsys: pytest.CaptureFixture[str]) -> None:
    console.configure(quiet=True)
    console.note("working")
    console.warn("careful")
    logging.getLogger("mair_cli.x").warning("careful too")
    console.error("broken")
    assert capsys.readouterr().err == "error: broken\n"


def test_libraries_are_heard_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("mair_cli.x").info("unheard")
    console.configure(verbose=1)
    logging.getLogger("mair_cli.x").info("heard")
    assert capsys.readouterr().err == "info: heard\n"


def test_notices_of_libraries_are_plain_lines_and_gone_under_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("mair_cli.x").log(NOTICE, "Compiling")
    console.configure(quiet=True)
    logging.getLogger("mair_cli.x").log(NOTICE, "Compiling again")
    captured = capsys.readouterr()
    assert captured.err == "Compiling\n"
    assert captured.out == ""


def test_markup_and_long_names_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    name = "[red]" + "long " * 60 + ":smile: /x/1.png"
    console.error(name)
    assert capsys.readouterr().err == f"error: {name}\n"


def test_records_are_json_even_where_numbers_or_names_are_odd(capsys: pytest.CaptureFixture[str]) -> None:
    console.record({"psnr": float("inf"), "name": "a\udcff\n.png"})
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert json.loads(line) == {"psnr": None, "name": "a\udcff\n.png"}


def test_progress_is_gone_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("tiles") as bar:
        bar.reach(1, 4)
        bar.reach(4, 4)
    assert capsys.readouterr().err == ""


def test_tables_keep_every_cell(capsys: pytest.CaptureFixture[str]) -> None:
    console.table("figures", ("image", "dB"), [("a[b]", "31.20"), ("c", "9.10")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "figures"
    assert [line.split() for line in lines if line.strip()][-2:] == [["a[b]", "31.20"], ["c", "9.10"]]
    assert lines[-2].rstrip().endswith(" 9.10") or lines[-1].rstrip().endswith(" 9.10")


@pytest.mark.skipif(not hasattr(os, "set_blocking"), reason="pipes that do not wait are a matter of POSIX")
def test_an_image_reaches_a_slow_pipe_that_does_not_wait_whole() -> None:
    data = np.random.default_rng(0).integers(0, 256, 3_000_000, np.uint8).tobytes()
    code = """
import os, sys, numpy as np
os.set_blocking(1, False)
from mair_cli.cli import console
console.out_bytes(np.random.default_rng(0).integers(0, 256, 3_000_000, np.uint8).tobytes())
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        received = bytearray()
        while part := os.read(process.stdout.fileno(), 50_000):
            received += part
            time.sleep(0.002)
    assert process.returncode == 0
    assert bytes(received) == data


def test_a_table_beside_other_output_is_quiet_too(capsys: pytest.CaptureFixture[str]) -> None:
    console.configure(quiet=True)
    console.table("figures", ("image", "dB"), [("a", "31.20")], to_stdout=False)
    assert capsys.readouterr().err == ""
