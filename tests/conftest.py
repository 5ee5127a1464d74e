"""Shared fixtures and the switch for slow tests."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from fault_server import FaultServer
from PIL import Image

REFERENCE = Path(__file__).parent / "reference"
SAMPLE = Path(__file__).parents[1] / "docs" / "images" / "lighthouse.png"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="also run tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--run-slow"):
        return
    skip = pytest.mark.skip(reason="slow: run with --run-slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of reference values computed with the published network, shipped with the tests."""
    return REFERENCE


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Folder of benchmark and odd images (`bench/`, `odd/`, `train/`); skips where MAIR_REFERENCE_DIR names none."""
    candidates = [os.environ.get("MAIR_REFERENCE_DIR"), Path(__file__).parents[2] / "shared" / "data"]
    for candidate in candidates:
        if candidate and Path(candidate).is_dir():
            return Path(candidate)
    pytest.skip("no image corpus: set MAIR_REFERENCE_DIR to a folder with bench/ and odd/")


@pytest.fixture(scope="session")
def photograph() -> npt.NDArray[np.uint8]:
    """The sample photograph that ships with the documentation, (H, W, 3) RGB."""
    with Image.open(SAMPLE) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """A command sets the package's logging up for its process; the next test finds it as it was."""
    logger = logging.getLogger("mair_cli")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


@pytest.fixture
def server() -> Iterator[FaultServer]:
    """A web server that answers as it is told."""
    made = FaultServer()
    yield made
    made.close()


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """Address of an S3 server."""
    from bucket import s3_server

    with s3_server() as address:
        yield address


@pytest.fixture
def settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """See `cli.calling.settle`."""
    from calling import settle

    settle(tmp_path, monkeypatch)


@pytest.fixture
def settled_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in a folder below `tmp_path`, without a folder of benchmark sets."""
    from calling import settle

    folder = tmp_path / "work"
    folder.mkdir()
    settle(folder, monkeypatch)
    monkeypatch.delenv("MAIR_DATA_DIR", raising=False)
