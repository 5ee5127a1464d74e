"""A run measures every image, goes on after an interruption, and no image stops another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_benchmark import DrawnBenchmark
from PIL import Image

from mair_cli.benchmark.methods import BaselineMethod, Method, MethodInfo
from mair_cli.benchmark.runs import Benchmark, summarise
from mair_cli.benchmark.state import Row, RunState, state_key
from mair_cli.datasets.pairs import Sample
from mair_cli.errors import MairError
from mair_cli.measure.protocol import Measurement, MeasureProtocol


@pytest.fixture
def benchmark(tmp_path: Path) -> DrawnBenchmark:
    return DrawnBenchmark.below(tmp_path)


class Counting(Method):
    """Pixel repetition that counts what it restores, and can be made to fail or to be interrupted."""

    device = torch.device("cpu")

    def __init__(self, name: str = "counting", weights: str = "1") -> None:
        self.info = MethodInfo(name, "model", "for tests", weights=weights)
        self.calls = 0
        self.interrupt_at: int | None = None
        self.fail_at: int | None = None

    def warm_up(self) -> None:
        pass

    def restore(self, image: np.ndarray) -> np.ndarray:
        self.calls += 1
        if self.calls == self.interrupt_at:
            raise KeyboardInterrupt
        if self.calls == self.fail_at:
            raise MairError("memory does not suffice")
        return image.repeat(2, axis=0).repeat(2, axis=1)


def _rows(run: Benchmark) -> list[tuple[str, float | None]]:
    return [(row.image, row.measurement.psnr_y if row.measurement else None) for row in run.outcome.rows]


def test_every_image_is_measured_on_both_kinds_of_channels(benchmark: DrawnBenchmark) -> None:
    run = benchmark()
    run.run(BaselineMethod("bicubic", MeasureProtocol("sr", 2)))
    assert [row.image for row in run.outcome.rows] == ["p1", "p2", "p3"]
    for row in run.outcome.rows:
        assert row.measurement is not None
        assert 10 < row.measurement.psnr_rgb < row.measurement.psnr_y < 60
        assert 0 < row.measurement.ssim_rgb < 1
        assert row.seconds > 0
        assert row.megapixels_per_second == pytest.approx(row.width * row.height / 1e6 / row.seconds)
    assert (run.outcome.rows[0].width, run.outcome.rows[0].height) == (60, 44)


def test_interrupted_run_goes_on_image_by_image(benchmark: DrawnBenchmark) -> None:
    whole = benchmark(settings={"dataset": "undisturbed"})
    whole.run(Counting())
    method = Counting()
    method.interrupt_at = 3
    with pytest.raises(KeyboardInterrupt):
        benchmark().run(method)
    again, heard = Counting(), []
    resumed = benchmark(on_row=lambda row, earlier: heard.append((row.image, earlier)))
    resumed.run(again)
    assert again.calls == 1
    assert heard == [("p1", True), ("p2", True), ("p3", False)]
    assert _rows(resumed) == _rows(whole)


@pytest.mark.parametrize("change", ["weights", "settings", "image", "fresh", "finished"])
def test_results_are_taken_over_only_where_nothing_has_changed(change: str, benchmark: DrawnBenchmark) -> None:
    first = benchmark()
    first.run(Counting())
    if change == "image":
        Image.fromarray(np.full((30, 30, 3), 7, np.uint8)).save(benchmark.folder / "p2.png")
    if change == "finished":
        first.finish()
    method = Counting(weights="2" if change == "weights" else "1")
    second = benchmark(settings={"dataset": "pictures", "tile": 7} if change == "settings" else None)
    second.run(method, fresh=change == "fresh")
    assert method.calls == (1 if change == "image" else 3)


def test_unfinished_line_of_a_killed_run_is_measured_again(benchmark: DrawnBenchmark) -> None:
    first = benchmark()
    first.run(Counting())
    path = next(iter(first.outcome.states.values())).folder / "rows.jsonl"
    path.write_text(path.read_text()[:-20])
    method = Counting()
    second = benchmark()
    second.run(method)
    assert method.calls == 1
    assert _rows(second) == _rows(first)


def test_kept_outputs_come_back_and_are_made_where_they_are_missing(benchmark: DrawnBenchmark) -> None:
    benchmark().run(Counting())
    method = Counting()
    run = benchmark(keep_outputs=True)
    run.run(method)
    assert method.calls == 3
    output = run.outcome.output("counting", "p1")
    assert output.shape == (44, 60, 3)
    assert (output[0::2, 0::2] == output[1::2, 1::2]).all()
    again = Counting()
    benchmark(keep_outputs=True).run(again)
    assert again.calls == 0


def test_broken_image_and_failing_method_do_not_end_the_run(benchmark: DrawnBenchmark) -> None:
    data = (benchmark.folder / "p1.png").read_bytes()
    (benchmark.folder / "p1.png").write_bytes(data[: len(data) // 2])
    method = Counting()
    method.fail_at = 1
    run = benchmark()
    run.run(method)
    errors = {row.image: row.error for row in run.outcome.rows}
    assert "p1.png" in errors["p1"]
    assert errors["p2"] == "memory does not suffice"
    assert errors["p3"] == ""
    (summary,) = summarise(run.outcome)
    assert (summary.images, summary.failed) == (1, 2)


def test_failure_is_tried_again_next_time(benchmark: DrawnBenchmark) -> None:
    method = Counting()
    method.fail_at = 2
    benchmark().run(method)
    again = Counting()
    benchmark().run(again)
    assert again.calls == 1


def test_mean_is_over_the_images_that_were_measured(benchmark: DrawnBenchmark) -> None:
    run = benchmark()
    run.run(Counting())
    (summary,) = summarise(run.outcome)
    figures = [row.measurement for row in run.outcome.rows if row.measurement]
    assert summary.mean is not None
    assert summary.mean.psnr_y == pytest.approx(np.mean([figure.psnr_y for figure in figures]))
    assert summary.mean.ssim_rgb == pytest.approx(np.mean([figure.ssim_rgb for figure in figures]))
    assert summary.megapixels_per_second == pytest.approx(
        sum(row.width * row.height for row in run.outcome.rows) / 1e6 / sum(row.seconds for row in run.outcome.rows)
    )


def test_nothing_measured_has_no_mean(benchmark: DrawnBenchmark, tmp_path: Path) -> None:
    run = benchmark(chosen=[Sample("gone", tmp_path / "gone.png")])
    run.run(Counting())
    (summary,) = summarise(run.outcome)
    assert (summary.images, summary.failed, summary.mean) == (0, 1, None)


def test_several_methods_keep_their_states_apart(benchmark: DrawnBenchmark) -> None:
    run = benchmark()
    methods: list[Method] = [Counting("one"), Counting("two"), BaselineMethod("bicubic", MeasureProtocol("sr", 2))]
    for method in methods:
        run.run(method)
    assert len({state.folder for state in run.outcome.states.values()}) == 3
    assert len(run.outcome.rows) == 9


ROW = Row("a", "m", "d", 1, 1, Measurement(1, 1, 1, 1), 1.0)


def test_a_state_that_cannot_be_kept_does_not_stop_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    state = RunState(tmp_path / "file" / "state", keep_outputs=True)
    assert not state.resumable
    output = np.full((3, 4, 3), 7, np.uint8)
    state.add(ROW, output)
    np.testing.assert_array_equal(state.output("a"), output)
    assert [record.message.count("cannot be resumed") for record in caplog.records] == [1]
    folder = state.folder
    state.close()
    assert not folder.exists()


def test_an_equal_run_at_the_same_time_keeps_to_itself(tmp_path: Path) -> None:
    first = RunState(tmp_path / "s", keep_outputs=False)
    first.add(ROW, None)
    second = RunState(tmp_path / "s", keep_outputs=False)
    assert not second.resumable
    assert second.find("a", "d") is None
    second.add(ROW, None)
    second.clear()
    second.close()
    first.close()
    assert RunState(tmp_path / "s", keep_outputs=False).find("a", "d") == ROW


@pytest.mark.parametrize("damage", [b"\xff\xfe", b"{}", b"[]", b"null"])
def test_lines_that_nothing_can_be_made_of_are_measured_again(tmp_path: Path, damage: bytes) -> None:
    state = RunState(tmp_path / "s", keep_outputs=False)
    state.add(ROW, None)
    state.close()
    path = tmp_path / "s" / "rows.jsonl"
    path.write_bytes(damage + b"\n" + path.read_bytes())
    again = RunState(tmp_path / "s", keep_outputs=False)
    assert again.images == {"a"}
    again.close()
    path.write_bytes(path.read_bytes().replace(b'"psnr_y": 1', b'"psnr_y": 9'))
    assert RunState(tmp_path / "s", keep_outputs=False).images == set()


def test_infinite_psnr_survives_the_state(tmp_path: Path) -> None:
    row = Row("a", "m", "d", 1, 1, Measurement(float("inf"), 1, float("inf"), 1), 1.0, 5)
    first = RunState(tmp_path / "s", keep_outputs=False)
    first.add(row, None)
    first.close()
    assert RunState(tmp_path / "s", keep_outputs=False).find("a", "d") == row


def test_state_key_depends_on_every_setting_but_not_on_their_order() -> None:
    assert state_key({"a": 1, "b": "x"}) == state_key({"b": "x", "a": 1}) != state_key({"a": 2, "b": "x"})
