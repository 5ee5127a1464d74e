"""`mair download`: fetches, lists, verifies, removes; tells what it does, and ends with the right code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from calling import drawing, mair, settle
from fault_server import FaultServer, right, web_page

from mair_cli.networks import build_network
from mair_cli.weights.cache import weights_file
from mair_cli.weights.catalog import MODELS, find

TINY = find("mair-t-x2")
HAZE = find("mair-dh-its")


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two of the authors' files, or what could be."""
    folder = tmp_path_factory.mktemp("originals")
    for entry in (TINY, HAZE):
        torch.manual_seed(0)
        torch.save({"params": build_network(entry.config).state_dict()}, folder / entry.file)
    return folder


@pytest.fixture(autouse=True)
def settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    settle(tmp_path / "work", monkeypatch)
    monkeypatch.delenv("MAIR_OFFLINE")
    monkeypatch.delenv("MAIR_MIRROR", raising=False)
    monkeypatch.setenv("MAIR_TIMEOUT", "0.3")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")


def test_the_list_names_every_model_and_says_that_no_licence_is_stated() -> None:
    ran = mair("download", "--list")
    assert ran.code == 0
    assert all(name in ran.text for name in MODELS)
    assert "none stated" in ran.text
    assert "Set5 32.62 dB" in ran.text
    assert "states no licence" in ran.err


def test_the_list_as_json_has_one_object_per_model() -> None:
    ran = mair("download", "--list", "--json", "-q")
    assert [record["name"] for record in ran.records] == list(MODELS)
    assert not any(record["here"] for record in ran.records if record["origin"] == "published")


def test_a_file_fetched_by_hand_tells_by_its_name_what_it_is_and_is_then_used(originals: Path) -> None:
    ran = mair("download", "--from", originals / HAZE.file)
    assert ran.code == 0, ran.err
    assert "states no licence" in ran.err
    assert "first seen" in ran.err
    assert weights_file(HAZE).is_file()
    assert any(record["here"] for record in mair("download", "--list", "--json").records if record["name"] == HAZE.name)
    drawing(12, 9).save("foggy.png")
    ran = mair("dehaze", "--scene", "indoor", "foggy.png")
    assert ran.code == 0, ran.err
    assert "mair-dh-its (published weights)" in ran.err
    assert Path("foggy_mair_dehazed.png").is_file()


def test_names_come_from_a_mirror_and_are_verified_and_removed(originals: Path, server: FaultServer) -> None:
    server.answers[f"/{TINY.file}"] = right((originals / TINY.file).read_bytes())
    assert mair("download", "mair-t-x2", "--from", server.address).code == 0
    assert "here already" in mair("download", "MaIR_T_lightSR_x2").err
    assert "whole and unchanged" in mair("download", "--verify").err
    data = bytearray(weights_file(TINY).read_bytes())
    data[-9] ^= 1
    weights_file(TINY).write_bytes(data)
    ran = mair("download", "--verify", "mair-t-x2")
    assert (ran.code, "checksum" in ran.err) == (1, True)
    assert "removed" in mair("download", "mair-t-x2", "--remove").err
    assert not weights_file(TINY).exists()


def test_of_several_models_those_that_can_be_had_are_fetched(originals: Path) -> None:
    ran = mair("download", "--task", "dehaze", "--from", originals)
    assert ran.code == 1
    assert "1 of 3 models are here" in ran.err
    assert weights_file(HAZE).is_file()


def test_what_cannot_be_fetched_ends_with_the_way_by_hand(server: FaultServer) -> None:
    server.answers[f"/{TINY.file}"] = web_page("<html>Quota exceeded</html>")
    ran = mair("download", "mair-t-x2", "--from", server.address)
    assert ran.code == 1
    assert "web page" in ran.err
    assert "`mair download mair-t-x2 --from MaIR_T_lightSR_x2.pth`" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--list"),
        (("mair-t-x5",), "Did you mean mair-t-x"),
        (("--list", "--verify"), "exclude each other"),
        (("--task", "paint"), "choose sr"),
        (("mair-t-x2", "--from", "no-such-place"), "Hugging Face"),
        (("mair-lite-x4", "--remove"), "ships with the package"),
        (("--all", "--from", __file__), "name the one model"),
    ],
)
def test_a_wrong_call_says_what_to_type_and_ends_with_2(arguments: tuple[str, ...], words: str) -> None:
    ran = mair("download", *arguments)
    assert (ran.code, words in ran.err) == (2, True), ran.err


def test_offline_is_an_error_that_names_the_flag() -> None:
    ran = mair("download", "mair-t-x2", "--offline")
    assert ran.code == 1
    assert "--offline" in ran.err


@pytest.mark.parametrize(
    "command", [("deblur",), ("dehaze", "--scene", "outdoor"), ("denoise", "--real"), ("upscale", "--scale", "3")]
)
def test_a_task_without_weights_names_the_download_and_ends_with_2(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mair_cli.weights.cache.BUNDLED_DIR", Path("nowhere"))
    drawing().save("picture.png")
    ran = mair(*command, "picture.png")
    assert ran.code == 2
    assert "`mair download mair-" in ran.err
    assert "--weights" in ran.err


def test_the_cause_of_an_error_is_shown_to_those_who_ask(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"PK\x03\x04")
    command = ("upscale", str(tmp_path / "w.pth"), "--weights", str(tmp_path / "w.pth"), "-o", str(tmp_path / "x.png"))
    told, shown = mair(*command), mair(*command, "-vv")
    assert told.code == shown.code != 0
    assert "Traceback" not in told.err
    assert "Traceback" in shown.err
    assert "defect" not in shown.err
