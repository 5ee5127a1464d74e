"""Jobs are done once each, errors come back, and any calling thread and any process may ask."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from mair_cli.scan.cpu import threads


@pytest.fixture(params=["openmp", "pool"])
def three_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "pool":
        monkeypatch.setattr(threads, "_openmp", lambda: None)
    elif threads._openmp() is None:
        pytest.skip("PyTorch brings no GNU OpenMP here")
    monkeypatch.setattr(threads, "thread_count", lambda: 3)


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize(("jobs", "grain"), [(1, 1), (2, 1), (7, 3), (50, 4)])
def test_every_job_is_done_exactly_once(jobs: int, grain: int) -> None:
    done: list[int] = []
    threads.run_jobs(lambda first, last: done.extend(range(first, last)), jobs, grain=grain)
    assert sorted(done) == list(range(jobs))


@pytest.mark.usefixtures("three_threads")
def test_an_error_in_any_thread_reaches_the_caller() -> None:
    def kernel(first: int, _last: int) -> None:
        if first == 5:
            raise MemoryError("job 5")

    with pytest.raises(MemoryError, match="job 5"):
        threads.run_jobs(kernel, 9)


@pytest.mark.usefixtures("three_threads")
def test_several_threads_may_call_at_once() -> None:
    def call(_: int) -> int:
        done: list[int] = []
        threads.run_jobs(lambda first, last: done.extend(range(first, last)), 40)
        torch.ones(100_000).mul_(2).sum()
        return len(set(done))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(call, range(40))) == [40] * 40
    assert threading.active_count() < 40


FORK = """
import multiprocessing, sys
import torch
from mair_cli.networks import build_network
from mair_cli.scan.cpu import threads
if sys.argv[1] == "pool":
    threads._openmp = lambda: None
torch.set_num_threads(2)
network = build_network({"embed_dim": 8, "depths": [2], "upscale": 2})
image = torch.rand(1, 3, 40, 40)
def restore():
    with torch.inference_mode():
        return network(image)
expected = restore()
def child():
    sys.exit(0 if torch.allclose(restore(), expected, atol=1e-6) else 3)
process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join(60)
print(process.exitcode)
process.kill()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("kind", ["openmp", "pool"])
def test_a_process_that_is_forked_after_use_computes_the_same_and_does_not_hang(kind: str) -> None:
    done = subprocess.run([sys.executable, "-c", FORK, kind], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "0", done.stderr
