"""The Triton kernels: right in Triton's interpreter, accepted by its compiler, refused with a reason elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from scan_cases import INPUTS, ScanCase, differences, scan_inputs

from mair_cli.errors import BackendError
from mair_cli.scan.gpu.triton_scan import BACKEND

HERE = Path(__file__).parent


def _interpret(*options: str) -> dict[str, Any]:
    pytest.importorskip("triton")
    command = [sys.executable, str(HERE / "interpreted_triton.py"), *options]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def interpreted() -> dict[str, Any]:
    return _interpret()


CASES = (
    "one pixel",
    "odd sizes, two blocks",
    "whole chunks and blocks",
    "extreme steps and rates",
    "strided inputs, two images",
)


@pytest.mark.parametrize("case", CASES)
def test_interpreted_scan_and_gradients_equal_the_reference(interpreted: dict[str, Any], case: str) -> None:
    assert set(interpreted[case]) == {"y", *INPUTS}
    assert interpreted[case]["y"] < 1e-6
    assert max(interpreted[case].values()) < 1e-5


def test_bfloat16_pixels_are_computed_in_float32_and_rounded_once(interpreted: dict[str, Any]) -> None:
    assert interpreted["bfloat16 type"] == "torch.bfloat16"
    assert max(interpreted["bfloat16"].values()) < 2**-8


def test_interpreter_counts_as_usable(interpreted: dict[str, Any]) -> None:
    assert interpreted["status"] is None


@pytest.mark.slow
def test_interpreted_scan_with_default_tiling_and_many_states() -> None:
    found = _interpret("--slow")
    for case in ("default tiling", "many states", "through the dispatch"):
        assert found[case]["y"] < 1e-6, case
        assert max(found[case].values()) < 1e-5, case


# Per kernel: its own constants besides R, N and BLOCK; sizes are as in DEFAULT_TILING.
KERNELS = {
    "summary": {"CHUNK": 32, "ADJOINT": False},
    "carry": {"TILE": 32, "ADJOINT": True},
    "output": {"CHUNK": 32},
    "gradient": {"CHUNK": 16},
}


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="Triton interprets in this process")
@pytest.mark.parametrize("name", KERNELS)
def test_kernel_compiles_for_a_gpu_without_one(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter accepts more than the compiler does."""
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    from triton import compile as triton_compile
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from mair_cli.scan.gpu import triton_kernels

    kernel = getattr(triton_kernels, name)
    constants = {"N": 4, "BLOCK": 32, **({} if name == "carry" else {"R": 3}), **KERNELS[name]}
    sizes = dict.fromkeys(["length", "channels", "chunks"], "i32")
    types = dict.fromkeys(kernel.arg_names, "*fp32") | {"order": "*i32"} | sizes
    signature = {argument: types[argument] for argument in kernel.arg_names if argument not in constants}
    signature |= dict.fromkeys(constants, "constexpr")
    source = ASTSource(kernel, signature, {(kernel.arg_names.index(key),): value for key, value in constants.items()})
    compiled = triton_compile(
        source, target=GPUTarget("cuda", 80, 32), options={"num_warps": 1, "enable_fp_fusion": True}
    )
    assert len(compiled.asm["cubin"]) > 0


def test_reason_without_triton_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "mair_cli.scan.gpu.triton_kernels", raising=False)
    monkeypatch.delattr("mair_cli.scan.gpu.triton_kernels", raising=False)
    reason = BACKEND.unavailable()
    assert reason is not None
    assert "pip install triton" in reason
    assert "\n" not in reason


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_computes_nothing() -> None:
    pytest.importorskip("triton")
    reason = BACKEND.unavailable()
    assert reason is not None
    assert "GPU" in reason
    assert "`backend`" in reason
    with pytest.raises(BackendError, match="cpu"):
        BACKEND.scan(scan_inputs(ScanCase(1, 1, 1, 2, 1, 1)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize(
    "case", [ScanCase(1, 1, 1, 5, 1, 1), ScanCase(2, 13, 11, 66, 3, 4), ScanCase(1, 64, 64, 40, 16, 3)]
)
def test_scan_and_gradients_on_a_gpu_equal_the_reference(case: ScanCase) -> None:
    assert BACKEND.unavailable() is None
    found = differences(BACKEND.scan, scan_inputs(case, "cuda"))
    assert found.pop("y") < 1e-6
    assert max(found.values()) < 1e-5
