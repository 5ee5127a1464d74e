"""Running methods over a benchmark set: image by image, resumable, and no image stops another."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from mair_cli.benchmark.methods import Method, MethodInfo
from mair_cli.benchmark.peak_memory import PeakMemory
from mair_cli.benchmark.state import Row, RunState, state_key
from mair_cli.datasets.pairs import Sample
from mair_cli.errors import ImageError, MairError, UsageError
from mair_cli.measure.perceptual import PerceptualMeasure
from mair_cli.measure.protocol import Measurement, MeasureProtocol, Pair, load_pair, mean_of, measure
from mair_cli.store.trace import log_traceback

__all__ = ["Benchmark", "BenchmarkResults", "Summary", "summarise"]

log = logging.getLogger(__name__)

OnRow = Callable[[Row, bool], None]
"""Called with each result and whether it comes from an interrupted run."""


@dataclass(frozen=True)
class Summary:
    """Means of one method.

    Attributes:
        method: whose.
        images: how many images the means cover.
        failed: how many could not be measured.
        mean: of each figure; None where no image was measured.
        seconds: mean time per image.
        megapixels_per_second: all output pixels over all seconds; None where unknown.
        peak_memory: the largest of all images, in bytes; None where unknown.
    """

    method: MethodInfo
    images: int
    failed: int
    mean: Measurement | None
    seconds: float
    megapixels_per_second: float | None
    peak_memory: int | None


@dataclass
class BenchmarkResults:
    """Everything measured, in the order of methods and images."""

    protocol: MeasureProtocol
    samples: Sequence[Sample]
    methods: list[MethodInfo] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    states: dict[str, RunState] = field(default_factory=dict)

    def of(self, method: str) -> list[Row]:
        """Results of one method."""
        return [row for row in self.rows if row.method == method]

    def output(self, method: str, image: str) -> np.ndarray:
        """A restored image, (H, W, 3) RGB uint8; only of runs that keep outputs."""
        return self.states[method].output(image)


def summarise(outcome: BenchmarkResults) -> list[Summary]:
    """Means per method, over the images that it could be measured on.

    A PSNR of infinity (an output equal to the ground truth) makes the mean infinite, as arithmetic has it.
    """
    return [_summary(info, outcome.of(info.name)) for info in outcome.methods]


def _summary(info: MethodInfo, rows: Sequence[Row]) -> Summary:
    good = [(row, row.measurement) for row in rows if row.measurement is not None]
    if not good:
        return Summary(info, 0, len(rows), None, 0.0, None, None)
    seconds = sum(row.seconds for row, _ in good)
    pixels = sum(row.width * row.height for row, _ in good)
    memory = [row.peak_memory for row, _ in good if row.peak_memory is not None]
    return Summary(
        method=info,
        images=len(good),
        failed=len(rows) - len(good),
        mean=mean_of([measurement for _, measurement in good]),
        seconds=seconds / len(good),
        megapixels_per_second=pixels / 1e6 / seconds if seconds > 0 else None,
        peak_memory=max(memory, default=None),
    )


class Benchmark:
    """Measures methods on the samples of one set.

    Args:
        protocol: what is restored, and how it is measured.
        samples: the images.
        state_root: folder for the state of unfinished runs.
        settings: what figures depend on beside protocol and method (data set, version …); part of the state's name, so
            that a run goes on only from its own results.
        keep_outputs: keep restored images until `finish`, for reports and for saving.
        on_row: called after each image.
        measures: perceptual measures to take besides.
    """

    def __init__(
        self,
        protocol: MeasureProtocol,
        samples: Sequence[Sample],
        *,
        state_root: Path,
        settings: Mapping[str, object],
        keep_outputs: bool = False,
        on_row: OnRow | None = None,
        measures: Sequence[PerceptualMeasure] = (),
    ) -> None:
        self.measures = measures
        self.outcome = BenchmarkResults(protocol, samples)
        self._state_root = state_root
        self._settings = dict(settings)
        self._keep_outputs = keep_outputs
        self.on_row = on_row

    def open_state(self, method: MethodInfo, fresh: bool = False) -> RunState:
        """The state of `method`'s run, emptied first where it should start afresh."""
        key = state_key(
            {
                **self._settings,
                **({"measures": [measure.name for measure in self.measures]} if self.measures else {}),
                "protocol": asdict(self.outcome.protocol),
                "method": method.name,
                "run": method.settings,
                "weights": method.weights,
            }
        )
        state = RunState(self._state_root / key, self._keep_outputs)
        if fresh:
            state.clear()
        return state

    def run(self, method: Method, fresh: bool = False) -> None:
        """Measure one method on every image and add the results to `outcome`.

        An image that cannot be read, restored or measured becomes a row with its error. `KeyboardInterrupt` passes
        through; what was measured until then is kept.

        Raises:
            MairError: the state cannot be kept.
        """
        info = method.info
        if any(info.name == other.name for other in self.outcome.methods):
            raise UsageError(f"{info.name} stands among the methods already: name each once")
        state = self.open_state(info, fresh)
        self.outcome.methods.append(info)
        self.outcome.states[info.name] = state
        warm = False
        for sample in self.outcome.samples:
            try:
                pair = load_pair(sample, self.outcome.protocol)
            except ImageError as error:
                self._add(Row(sample.name, info.name, "", error=str(error)), False)
                continue
            earlier = state.find(sample.name, pair.digest)
            if earlier is not None:
                self._add(earlier, True)
                continue
            if not warm:
                method.warm_up()
                warm = True
            row, output = self._measure(method, sample, pair)
            state.add(row, output)
            self._add(row, False)

    def _add(self, row: Row, resumed: bool) -> None:
        self.outcome.rows.append(row)
        if self.on_row is not None:
            self.on_row(row, resumed)

    def _measure(self, method: Method, sample: Sample, pair: Pair) -> tuple[Row, np.ndarray | None]:
        protocol, (height, width) = self.outcome.protocol, pair.truth.shape[:2]
        with PeakMemory(method.device) as memory:
            start = time.perf_counter()
            try:
                output = method.restore(pair.degraded)
            except (MairError, MemoryError, RuntimeError) as error:
                log.warning("%s: %s failed: %s", sample.name, method.info.name, error)
                log_traceback(error)
                reason = str(error) or "not enough memory"
                return Row(sample.name, method.info.name, pair.digest, width, height, error=reason), None
            seconds = time.perf_counter() - start
        try:
            perceptual = {other.name: other(output, pair.truth) for other in self.measures}
        except RuntimeError as error:
            return Row(sample.name, method.info.name, pair.digest, width, height, error=str(error)), None
        figures = measure(output, pair.truth, protocol.crop, protocol.kind.measured_whole)
        row = Row(
            image=sample.name,
            method=method.info.name,
            digest=pair.digest,
            width=width,
            height=height,
            measurement=replace(figures, perceptual=perceptual),
            seconds=seconds,
            peak_memory=memory.bytes,
            gray=pair.gray,
        )
        return row, output

    def finish(self) -> None:
        """Forget the state: everything was measured and reported."""
        for state in self.outcome.states.values():
            state.clear()
            state.close()
