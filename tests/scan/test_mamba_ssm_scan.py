"""The adapter to mamba-ssm: hands its kernel what it demands, and refuses with a reason what it cannot use.

Where there is no GPU, the kernel is a stand-in that is as strict as the real one.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import kernel_standin
import pytest
import torch
from scan_cases import INPUTS, ScanCase, differences, scan_inputs
from torch import Tensor

from mair_cli.errors import BackendError
from mair_cli.scan.gpu.mamba_ssm_scan import BACKEND
from mair_cli.scan.inputs import ScanInputs

MODULE = "selective_scan_cuda"


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setitem(sys.modules, MODULE, kernel_standin)
    return kernel_standin


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the adapter look further than at the missing GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


@pytest.mark.usefixtures("standin")
@pytest.mark.parametrize("case", [ScanCase(1, 1, 1, 3, 2, 1), ScanCase(2, 3, 5, 6, 1, 2), ScanCase(1, 9, 4, 10, 16, 3)])
def test_scan_and_gradients_equal_the_reference(case: ScanCase) -> None:
    found = differences(BACKEND.scan, scan_inputs(case))
    assert set(found) == {"y", *INPUTS}
    assert found["y"] < 1e-6
    assert max(found.values()) < 1e-5


@pytest.mark.usefixtures("standin")
def test_strided_inputs_reach_the_kernel_as_it_demands() -> None:
    straight = scan_inputs(ScanCase(2, 2, 3, 4, 2, 2))
    inputs = ScanInputs(*(t.transpose(0, -1).contiguous().transpose(0, -1) for t in straight))
    assert max(differences(BACKEND.scan, inputs).values()) < 1e-6


@pytest.mark.usefixtures("standin")
def test_bfloat16_under_autocast_is_computed_in_float32() -> None:
    inputs = scan_inputs(ScanCase(1, 3, 3, 4, 2, 1))
    rough = replace(inputs, u=inputs.u.bfloat16(), projections=inputs.projections.bfloat16())
    exact = BACKEND.scan(replace(rough, u=rough.u.float(), projections=rough.projections.float()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = BACKEND.scan(rough)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, exact.bfloat16())


def test_sequence_of_several_kernel_chunks_passes_their_states_to_the_gradient(
    standin: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standin, "CHUNK", 4)
    assert max(differences(BACKEND.scan, scan_inputs(ScanCase(1, 3, 3, 2, 1, 1))).values()) < 1e-6


def test_standin_is_as_strict_as_the_kernel() -> None:
    """A stand-in that let everything pass would make the other tests worthless."""

    def call(**changed: Tensor) -> list[Tensor]:
        given: dict[str, Any] = {
            "u": torch.ones(1, 4, 3),
            "delta": torch.ones(1, 4, 3),
            "A": -torch.ones(4, 2),
            "B": torch.ones(1, 2, 2, 3),
            "C": torch.ones(1, 2, 2, 3),
            "D_": torch.ones(4),
            "z_": None,
            "delta_bias_": torch.ones(4),
            **changed,
        }
        return kernel_standin.fwd(**given, delta_softplus=True)

    assert [tuple(t.shape) for t in call()] == [(1, 4, 3), (1, 4, 1, 4)]
    refused = {
        "u": torch.ones(1, 3, 4).transpose(1, 2),
        "delta": torch.ones(1, 4, 3).half(),
        "A": -torch.ones(4, 2).double(),
        "B": torch.ones(1, 2, 3, 2),
        "C": torch.ones(1, 2, 3, 2).transpose(2, 3),
        "D_": torch.ones(4).bfloat16(),
        "delta_bias_": torch.ones(8)[::2],
    }
    for name, tensor in refused.items():
        with pytest.raises(RuntimeError, match="Expected"):
            call(**{name: tensor})


@pytest.mark.usefixtures("standin")
def test_more_states_than_the_kernel_has_room_for_are_refused() -> None:
    with pytest.raises(BackendError, match="256 states, not 257"):
        BACKEND.scan(scan_inputs(ScanCase(1, 1, 1, 1, 257, 1)))


@pytest.mark.usefixtures("standin")
def test_data_beyond_the_kernels_offsets_is_refused_before_any_is_moved() -> None:
    inputs = scan_inputs(ScanCase(1, 1, 1, 1, 1, 1))
    length = 2**30
    huge = replace(
        inputs,
        u=inputs.u.expand(1, length, 1),
        projections=inputs.projections.expand(1, length, 4, 3),
        order=inputs.order.expand(4, length),
    )
    with pytest.raises(BackendError, match="`tile`"):
        BACKEND.scan(huge)


def _reason() -> str:
    reason = BACKEND.unavailable()
    assert reason is not None
    assert "\n" not in reason
    assert "`backend`" in reason
    return reason


@pytest.mark.usefixtures("gpu", "standin")
def test_module_with_the_known_signatures_is_usable() -> None:
    assert BACKEND.unavailable() is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.usefixtures("standin")
def test_without_a_gpu_the_reason_is_the_gpu() -> None:
    assert "GPU" in _reason()


@pytest.mark.usefixtures("gpu")
def test_missing_module_is_told_from_a_broken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, MODULE, None)
    assert "pip install" in _reason()
    monkeypatch.delitem(sys.modules, MODULE)
    (tmp_path / f"{MODULE}.py").write_text("raise ImportError('undefined symbol:\\n _ZN3c10')")
    monkeypatch.syspath_prepend(tmp_path)
    assert "undefined symbol: _ZN3c10" in _reason()


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("documented", ["fwd(arg0: Tensor, arg9: Tensor) -> list", None])
def test_module_with_other_signatures_is_refused(monkeypatch: pytest.MonkeyPatch, documented: str | None) -> None:
    """Some branches of mamba-ssm add arguments (for packed sequences), others have no such function."""
    module = ModuleType(MODULE)
    if documented is not None:
        module.fwd = lambda: None  # type: ignore[attr-defined]
        module.fwd.__doc__ = documented
    monkeypatch.setitem(sys.modules, MODULE, module)
    assert "takes" in _reason()


@pytest.mark.gpu
@pytest.mark.skipif(BACKEND.unavailable() is not None, reason="no mamba-ssm on a GPU here")
@pytest.mark.parametrize("case", [ScanCase(2, 13, 11, 66, 3, 4), ScanCase(1, 64, 64, 40, 16, 3)])
def test_scan_and_gradients_on_a_gpu_equal_the_reference(case: ScanCase) -> None:
    found = differences(BACKEND.scan, scan_inputs(case, "cuda"))
    assert found.pop("y") < 1e-6
    assert max(found.values()) < 1e-5
