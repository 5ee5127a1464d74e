"""Devices by name."""

from __future__ import annotations

import pytest
import torch

from mair_cli.errors import BackendError, UsageError
from mair_cli.runtime.device import choose_device, describe_device

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")


def test_cpu_is_always_there() -> None:
    assert choose_device("cpu") == choose_device(" CPU ") == torch.device("cpu")
    assert describe_device(torch.device("cpu")).startswith("CPU (")


@no_gpu
def test_auto_falls_back_to_what_is_there() -> None:
    assert choose_device("auto").type in ("cpu", "mps")


@no_gpu
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
def test_a_missing_gpu_is_refused_with_the_way_out(name: str) -> None:
    with pytest.raises(BackendError, match=f"`device` {name}.*auto or cpu"):
        choose_device(name)


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="has an Apple GPU")
def test_a_missing_apple_gpu_is_refused_with_the_way_out() -> None:
    with pytest.raises(BackendError, match="`device` mps"):
        choose_device("mps")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "", "cpu:0"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="unknown"):
        choose_device(name)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_auto_takes_the_gpu_and_an_index_too_high_is_refused() -> None:
    assert choose_device("auto") == torch.device("cuda:0")
    with pytest.raises(BackendError, match="GPU"):
        choose_device(f"cuda:{torch.cuda.device_count()}")
