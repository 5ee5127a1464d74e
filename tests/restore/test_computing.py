"""Which precision `auto` stands for, and that what it loses is not seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mair_cli import Restorer, build_network
from mair_cli.inference import kinds
from mair_cli.networks.network import Network
from mair_cli.restore.computing import choose_precision, form_computes

CPU = torch.device("cpu")
PHOTOGRAPH = Path(__file__).parents[2] / "docs" / "images" / "lighthouse.png"
LARGEST_LOSS = 0.01  # dB


@pytest.fixture(scope="module")
def network() -> Network:
    return build_network({"embed_dim": 16, "depths": [1], "upsampler": "pixelshuffledirect"})


def says_it_computes_in_pairs(monkeypatch: pytest.MonkeyPatch, answer: bool) -> None:
    monkeypatch.setattr(kinds, "computes_in_pairs", lambda: answer)


def test_auto_is_bf16_only_where_it_is_fast_and_its_loss_was_measured(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    says_it_computes_in_pairs(monkeypatch, answer=True)
    formless = build_network({"embed_dim": 16, "depths": [1], "upsampler": "pixelshuffledirect", "aggregation": "sum"})
    assert choose_precision("auto", network, CPU, "numba", may_round=True) == "bf16"
    assert choose_precision("auto", network, CPU, "numba", may_round=False) == "fp32"
    assert choose_precision("auto", network, CPU, "reference", may_round=True) == "fp32"
    assert choose_precision("auto", network, torch.device("cuda"), "triton", may_round=True) == "fp32"
    assert choose_precision("auto", formless, CPU, "numba", may_round=True) == "fp32"
    for asked in ("fp32", "bf16", "fp16"):
        assert choose_precision(asked, network, CPU, "numba", may_round=True) == asked
    says_it_computes_in_pairs(monkeypatch, answer=False)
    assert choose_precision("auto", network, CPU, "numba", may_round=True) == "fp32"


def test_without_the_instructions_bf16_is_left_to_pytorch(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    says_it_computes_in_pairs(monkeypatch, answer=False)
    assert not form_computes(network, CPU, "numba", "bf16")
    assert form_computes(network, CPU, "numba", "fp32")
    assert not form_computes(network, CPU, "numba", "fp16")
    assert not form_computes(network, CPU, "reference", "fp32")


@pytest.mark.parametrize("scale", [2, 4])
def test_auto_on_bundled_weights_loses_less_than_a_hundredth_of_a_decibel(scale: int) -> None:
    photograph = Image.open(PHOTOGRAPH).convert("RGB").crop((160, 40, 416, 296))
    truth = np.asarray(photograph, np.float32) / 255
    image = np.asarray(photograph.resize((256 // scale,) * 2, Image.Resampling.BICUBIC), np.float32) / 255
    exact, auto = (Restorer("sr", scale=scale, device="cpu", precision=name) for name in ("fp32", "auto"))
    assert exact.precision == "fp32"
    assert auto.precision == ("bf16" if kinds.computes_in_pairs() else "fp32")
    assert auto.description.endswith(auto.precision)
    assert auto.run_settings["precision"] == auto.precision
    results = [restorer(image) for restorer in (exact, auto)]
    if auto.precision == "bf16":
        assert not np.array_equal(results[0], results[1])
    exact_db, auto_db = (-10 * np.log10(np.mean((result - truth) ** 2)) for result in results)
    assert exact_db - auto_db < LARGEST_LOSS


def test_weights_that_nobody_measured_and_named_back_ends_stay_in_float32(
    golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says_it_computes_in_pairs(monkeypatch, answer=True)
    assert Restorer("dehaze", device="cpu", precision="auto").precision == "fp32"
    assert Restorer("sr", device="cpu", backend="numba", precision="auto").precision == "fp32"
    assert Restorer(weights=golden / "light_d1_x4.pth", stripe=8, device="cpu", precision="auto").precision == "fp32"
