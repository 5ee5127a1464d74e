"""`mair export`: ONNX files that another runtime runs, with the same result."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from calling import REFERENCE, mair, settle

from mair_cli.errors import UsageError
from mair_cli.networks import MaIRConfig, build_network
from mair_cli.weights import onnx_file
from mair_cli.weights.checkpoint import load_network, save_checkpoint

TINY = MaIRConfig(upscale=2, embed_dim=8, depths=(1,), d_state=2, scan_len=4, noise_level_map=True)


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(tmp_path, monkeypatch)
    save_checkpoint(Path("tiny.safetensors"), build_network(TINY).state_dict(), TINY, {"task": "sr"})


def test_a_network_runs_elsewhere_with_the_same_result_for_any_number_of_images() -> None:
    runtime = pytest.importorskip("onnxruntime")
    done = mair("export", "tiny.safetensors", "--onnx", "tiny.onnx", "--size", "12x6")
    assert done.code == 0
    assert "image (B, 3, 6, 12), noise_level (B,)" in done.err
    assert "largest difference" in done.err
    assert b".py" not in Path("tiny.onnx").read_bytes(), "paths of this machine"
    session = runtime.InferenceSession("tiny.onnx", providers=["CPUExecutionProvider"])
    network = load_network("tiny.safetensors")
    for batch in (1, 3):
        image, level = torch.rand(batch, 3, 6, 12), torch.rand(batch)
        (found,) = session.run(["restored"], {"image": image.numpy(), "noise_level": level.numpy()})
        with torch.inference_mode():
            np.testing.assert_allclose(found, network(image, noise_level=level).numpy(), atol=2e-5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tiny.safetensors", "--onnx", "tiny.safetensors"), "--overwrite"),
        (("tiny.safetensors", "--onnx", "out.onnx", "--size", "64"), "--size 64"),
        (("tiny.safetensors", "--onnx", "out.onnx", "--size", "4096x4096"), "--size 4096x4096"),
        (("mair-t-x4", "--onnx", "out.onnx"), "mair download mair-t-x4"),
        ((REFERENCE / "light_d1_x4.pth", "--onnx", "out.onnx"), "--stripe"),
    ],
)
def test_what_cannot_be_exported_is_refused_and_nothing_written(arguments: tuple[str, ...], said: str) -> None:
    before = Path("tiny.safetensors").read_bytes()
    done = mair("export", *arguments)
    assert done.code != 0
    assert said in done.err
    assert not Path("out.onnx").exists()
    assert Path("tiny.safetensors").read_bytes() == before


def test_missing_packages_are_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name.startswith("onnx") else found(name))
    with pytest.raises(UsageError, match=r"pip install 'mair-cli\[onnx\]'"):
        onnx_file.check_packages()


def test_a_card_tells_what_the_file_knows_and_marks_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(tmp_path, monkeypatch)
    ran = mair("export", "mair-lite-x4", "--card", "README.md")
    assert ran.code == 0, ran.err
    text = Path("README.md").read_text("utf-8")
    head = text.split("---\n")[1]
    assert 'pipeline_tag: "image-to-image"' in head
    assert "super-resolution ×4" in text
    assert "noise_level, jpeg_level" in text
    assert "| Training data and its licence | TODO |" in text
    assert mair("export", "mair-lite-x4", "--card", "README.md").code == 2
    assert mair("export", "mair-lite-x4").code == 2


@pytest.mark.parametrize(
    ("task", "command"),
    [("sr", "upscale"), ("deblur", "deblur"), ("real-denoise", "denoise --real"), ("paint", "TODO")],
)
def test_a_card_names_the_command_of_its_task(
    task: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(tmp_path, monkeypatch)
    save_checkpoint(Path("own.safetensors"), build_network(TINY).state_dict(), TINY, {"task": task})
    assert mair("export", "own.safetensors", "--card", "README.md").code == 0
    assert f"`mair {command} photo.jpg --weights own.safetensors`" in Path("README.md").read_text("utf-8")
