"""A few trials of each campaign; many more, with other seeds: `python tests/reliability/campaigns.py`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("campaigns.py")
ON_ITS_OWN_DISK = ("restoring, benchmark and training", "restoring and training")
CAMPAIGNS = {
    "folders": 4,
    "trainings": 3,
    "benchmarks": 3,
    "pictures": 600,
    "checkpoints": 60,
    "training states": 60,
    "hostile": 400,
    **dict.fromkeys(ON_ITS_OWN_DISK, 3),
    "disk errors": 6,
    "restoring with": 3,
    "three": 3,
}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks, signals and mounts of Linux")
@pytest.mark.parametrize("name", CAMPAIGNS)
def test_campaign_finds_nothing(name: str) -> None:
    if name in ON_ITS_OWN_DISK and os.geteuid() != 0:
        pytest.skip("mounting needs root")
    command = [sys.executable, str(SCRIPT), "--seed", "20261125", "--trials", str(CAMPAIGNS[name]), name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("| 0 |") == 1
