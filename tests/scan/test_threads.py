"""Jobs are done once each, errors come back, and any calling thread and any process may ask."""

from __future__ import annotations

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
