"""`mair doctor`: what it tells, and that its self-test can fail."""

from __future__ import annotations

import numpy as np
import pytest
from calling import mair

from mair_cli.cli import doctor, self_test
from mair_cli.restore.restorer import Restorer
from mair_cli.scan.dispatch import BACKENDS

pytestmark = pytest.mark.usefixtures("settled")


def test_doctor_tells_all_and_passes_on_a_working_machine() -> None:
    ran = mair("doctor", "--json")
    assert ran.code == 0
    (report,) = ran.records
    assert report["versions"]["torch"].startswith("2.")
    assert "chosen by auto" in " ".join(report["devices"].values())
    assert set(report["back ends"]) == set(BACKENDS)
    assert "-cache" in report["folders"]["cache"]
    assert report["folders"]["network"].startswith("forbidden")
    assert "mair-lite-x4" in report["weights"]
    assert report["self-test"]["passed"] is True


def test_doctor_shows_tables_to_people_and_says_why_a_back_end_is_missing() -> None:
    ran = mair("doctor", "--no-self-test")
    assert ran.code == 0
    for title in ("versions", "devices", "back ends", "image formats", "folders", "weights"):
        assert title in ran.text.splitlines()[0] or f"\n{title}" in ran.text
    for line in ran.text.splitlines():
        if "not usable" in line:
            assert len(line.partition("not usable: ")[2].strip()) > 20


def test_the_self_test_fails_when_a_back_end_computes_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Restorer.__call__

    def wrong(self: Restorer, image: np.ndarray, **options: object) -> np.ndarray:
        result = honest(self, image)
        return result if self.backend == "reference" else np.roll(result, 1, axis=0)

    monkeypatch.setattr(Restorer, "__call__", wrong)
    test = self_test.run_self_test(lambda done, total: None)
    assert not test.passed
    assert "--backend reference" in test.sentence


def test_whether_camera_raw_is_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rawpy")
    assert dict(doctor._formats())["camera raw"] == "read"
    monkeypatch.setattr("mair_cli.images.formats.importlib.util.find_spec", lambda name: None)
    assert 'pip install "mair-cli[formats]"' in dict(doctor._formats())["camera raw"]
