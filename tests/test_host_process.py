"""What is told to the system's libraries before they load."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SHOW = "import os, mair_cli; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in __import__('sys').modules)"


@pytest.mark.parametrize(
    ("own", "shown"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "active"}, "None")],
    ids=["nothing said", "spins said", "policy said"],
)
def test_waiting_is_set_before_torch_loads_and_what_the_user_says_stays(own: dict[str, str], shown: str) -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("GOMP_", "OMP_WAIT", "KMP_"))}
    run = subprocess.run([sys.executable, "-c", SHOW], env={**plain, **own}, capture_output=True, text=True, check=True)
    assert run.stdout.split() == [shown, "False"]


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_not_cleared_again() -> None:
    faults = (
        "import resource, numpy as np; from mair_cli.host_process import keep_freed_memory; keep_freed_memory()\n"
        "def use(): np.empty(1 << 24, np.uint8).fill(1)\n"
        "use(); before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(20): use()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"
    )
    run = subprocess.run([sys.executable, "-c", faults], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 1000, "20 blocks of 16 MiB have 82,000 pages"
