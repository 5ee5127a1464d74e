"""Which back end computes: a ranking by the tensors' device, and a reason wherever one cannot be used."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType

import pytest
import torch
from scan_cases import ScanCase, scan_inputs
from torch import Tensor

from mair_cli.errors import BackendError
from mair_cli.scan import dispatch, registry
from mair_cli.scan.backend import Backend
from mair_cli.scan.dispatch import backend_status, describe_backend, resolve_backend, selective_scan
from mair_cli.scan.inputs import ScanInputs


class MadeUpBackend(Backend):
    """Computes on a made-up device, which PyTorch lets tensors name only."""

    obstacle: str | None = None

    def rank(self, device: str) -> int | None:
        return 0 if device == "privateuseone" else None

    def unavailable(self) -> str | None:
        return self.obstacle

    def scan(self, inputs: ScanInputs) -> Tensor:
        return inputs.u.unsqueeze(1).expand(-1, 4, -1, -1)


MADE_UP = torch.device("privateuseone")


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[MadeUpBackend]:
    """A back end more: its file and its row."""
    module = ModuleType("made_up_scan")
    backend = MadeUpBackend()
    module.__dict__["BACKEND"] = backend
    monkeypatch.setitem(sys.modules, "made_up_scan", module)
    monkeypatch.setitem(registry.MODULES, "made-up", "made_up_scan")
    dispatch._resolve.cache_clear()
    yield backend
    dispatch._resolve.cache_clear()


def test_auto_takes_numba_on_a_cpu() -> None:
    assert resolve_backend("auto", torch.device("cpu")) == "numba"


def test_unknown_back_end_is_refused_by_name() -> None:
    with pytest.raises(BackendError, match="tritn"):
        resolve_backend("tritn", torch.device("cpu"))


@pytest.mark.parametrize("device", ["mps", "privateuseone"])
def test_a_device_without_a_kernel_is_served_by_the_cpu_not_by_the_reference(device: str) -> None:
    assert resolve_backend("auto", torch.device(device)) == "numba"
    assert "on the CPU" in describe_backend("numba", torch.device(device))
    assert describe_backend("numba", torch.device("cpu")) == "numba"
    assert describe_backend("reference", torch.device(device)) == "reference"


def test_the_back_end_of_a_device_comes_before_what_is_carried_elsewhere(made_up: MadeUpBackend) -> None:
    assert resolve_backend("auto", MADE_UP) == "made-up"
    assert resolve_backend("auto", torch.device("cpu")) == "numba"
    dispatch._resolve.cache_clear()
    made_up.obstacle = "it is being repaired. Wait."
    assert resolve_backend("auto", MADE_UP) == "numba"
    assert backend_status("made-up") == made_up.obstacle


@pytest.mark.usefixtures("made_up")
def test_a_back_end_that_does_not_take_the_tensors_is_refused_with_a_way_out() -> None:
    with pytest.raises(BackendError, match=r"takes no tensors from cpu.*`device` or `backend`"):
        resolve_backend("made-up", torch.device("cpu"))


def test_the_last_resort_is_taken_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import numba

    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    dispatch._resolve.cache_clear()
    try:
        with caplog.at_level(logging.WARNING, "mair_cli"):
            assert resolve_backend("auto", torch.device("cpu")) == "reference"
    finally:
        dispatch._resolve.cache_clear()
    assert "NUMBA_DISABLE_JIT" in caplog.text


def test_tensors_carried_to_the_cpu_come_back_with_their_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no second device here: what is carried is watched on its way."""
    carried: list[torch.device] = []
    to = ScanInputs.to

    def watched(self: ScanInputs, device: torch.device) -> ScanInputs:
        carried.append(device)
        return to(replace(self, u=self.u.clone()), device)

    inputs = scan_inputs(ScanCase(1, 3, 3, 4, 2, 1))
    inputs.u.requires_grad_()
    monkeypatch.setattr(ScanInputs, "to", watched)
    y = selective_scan(inputs, backend="numba")
    y.sum().backward()
    assert carried == [torch.device("cpu")]
    assert y.device == inputs.u.device
    assert inputs.u.grad is not None
