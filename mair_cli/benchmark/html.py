"""A benchmark as one self-contained HTML page: summary, plot, sorted table, sliders, details where methods differ."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mair_cli.benchmark.page import Layer, Slider, render
from mair_cli.benchmark.plot import Point, Reference, quality_time_plot
from mair_cli.benchmark.report import BenchmarkReport, decibels, on_channels, similarity
from mair_cli.datasets.pairs import Sample
from mair_cli.datasets.resize import matlab_bicubic
from mair_cli.errors import ImageError
from mair_cli.measure.differences import Box, most_different_box
from mair_cli.measure.metrics import psnr
from mair_cli.measure.protocol import Measurement, load_pair, to_bytes
from mair_cli.tasks import Channel

__all__ = ["render_html"]

log = logging.getLogger(__name__)

_LOSSLESS_PIXELS = 60_000_000
"""Up to this many pixels in all, pictures are embedded bit for bit: about 90 MB; beyond, at WebP quality 92."""
_MOST_PIXELS = 200_000_000
"""Beyond this many pixels in all the page shows fewer images than asked for (unless all were): 600 MB of memory."""
_DETAILS = 8
_DETAIL_SIDE = 52
_REFERENCES = 5


@dataclass(frozen=True)
class _Shown:
    """One image of the page: its pictures by method, the ground truth last, and where they differ."""

    slider: Slider
    box: Box

    def details(self) -> list[Layer]:
        """The box of each picture, with its PSNR against the ground truth's."""
        *restored, (label, truth) = [(layer.label, self.box.cut(layer.image)) for layer in self.slider.layers]
        cuts = [Layer(name, cut, f"{decibels(psnr(cut, truth))} dB") for name, cut in restored]
        return [*cuts, Layer(label, truth)]


def render_html(report: BenchmarkReport, most_images: int = 40) -> str:
    """The page as text.

    Args:
        report: of a run that kept its outputs.
        most_images: sliders for at most this many images (fewer where they are large), those in which the methods
            differ most; 0 for all.
    """
    shown = _choose(report, most_images)
    points, references = _plotted(report)
    return render(
        "benchmark.html",
        title=report.title,
        measures=sorted({name for summary in report.summaries if summary.mean for name in summary.mean.perceptual}),
        lead=_lead(report),
        report=report,
        plot=quality_time_plot(points, references, report.outcome.protocol.headline.upper()),
        plot_references=references,
        differences=[f"{summary.method.name} is" for summary in report.comparable],
        shown=shown,
        details=sorted(shown, key=lambda item: -item.box.difference)[:_DETAILS],
        anchors={item.slider.name: item.slider.anchor for item in shown},
        restored=len({row.image for row in report.outcome.rows if row.measurement}),
        lossless=_pixels(shown) <= _LOSSLESS_PIXELS,
    )


def _lead(report: BenchmarkReport) -> str:
    count = len(report.outcome.samples)
    of = f" of {report.full_set}" if report.full_set and report.full_set != count else ""
    equal, compared = report.verified
    checked = f"; {equal} of {compared} files equal the published set's" if compared else ""
    return f"{count}{of} image{'s' if count != 1 else ''}, {len(report.summaries)} methods side by side{checked}."


def _plotted(report: BenchmarkReport) -> tuple[list[Point], list[Reference]]:
    """Measured methods, and published lines where all of those were measured on the same images as they."""
    measured = [(summary, figures) for summary in report.summaries if (figures := report.headline(summary))]
    points = [Point(summary.method.name, summary.seconds, figures[0]) for summary, figures in measured]
    if len(report.comparable) < len(points):
        return points, []
    labels = {point.label for point in points}
    published = [figure for figure in report.published if figure.method.lower() not in labels]
    # A few are enough to see where one stands: the lowest, the highest, and some between.
    picked = sorted({round(index) for index in np.linspace(0, len(published) - 1, min(_REFERENCES, len(published)))})
    return points, [Reference(published[index].method, published[index].psnr) for index in picked]


def _choose(report: BenchmarkReport, most: int) -> list[_Shown]:
    """The images to show, in the order of the table."""
    found: list[_Shown] = []
    for index, sample in enumerate(report.outcome.samples):
        item = _load(report, sample, f"image-{index + 1}")
        if item is not None:
            found.append(item)
            # Keep no more pictures in memory than the page will hold.
            while most and len(found) > 1 and (len(found) > most or _pixels(found) > _MOST_PIXELS):
                found.remove(min(found, key=lambda item: item.box.difference))
    return found


def _pixels(shown: Sequence[_Shown]) -> int:
    return sum(item.slider.height * item.slider.width * len(item.slider.layers) for item in shown)


def _load(report: BenchmarkReport, sample: Sample, anchor: str) -> _Shown | None:
    """Pictures of one image, or None where no method could restore it or its files have gone."""
    protocol = report.outcome.protocol
    measured = {row.method: row for row in report.outcome.rows if row.image == sample.name and row.measurement}
    if not measured:
        return None
    try:
        pair = load_pair(sample, protocol)
    except ImageError as error:
        log.warning("%s is left out of the page: %s", sample.name, error)
        return None
    enlarged = matlab_bicubic(pair.degraded, protocol.scale) if protocol.kind.enlarges else to_bytes(pair.degraded)
    layers = [Layer("input, bicubic" if protocol.kind.enlarges else "input", enlarged)]
    outputs: list[np.ndarray] = []
    networks: list[np.ndarray] = []
    for summary in report.summaries:
        row = measured.get(summary.method.name)
        if row is None or row.measurement is None:
            continue
        output, caption = report.outcome.output(row.method, row.image), _caption(row.measurement, protocol.headline)
        outputs.append(output)
        if summary.method.kind == "model":
            networks.append(output)
        if np.array_equal(output, enlarged):
            layers[0] = Layer(layers[0].label, enlarged, caption)
        else:
            layers.append(Layer(row.method, output, caption))
    right = _best_layer(report, layers)
    layers.append(Layer("ground truth", pair.truth))
    compared = networks if len(networks) > 1 else [enlarged, *outputs]
    box = most_different_box(compared, _DETAIL_SIDE, _DETAIL_SIDE)
    return _Shown(Slider(sample.name, layers, right or len(layers) - 1, anchor), box)


def _caption(figures: Measurement, channels: Channel) -> str:
    value, similar = on_channels(figures, channels)
    return f"{decibels(value)} dB / {similarity(similar)}"


def _best_layer(report: BenchmarkReport, layers: Sequence[Layer]) -> int:
    """The first network's layer, which the slider shows at first; the first other method's where there is none."""
    names = [summary.method.name for summary in report.summaries if summary.method.kind == "model"]
    for index, layer in enumerate(layers):
        if layer.label in names:
            return index
    return 1 if len(layers) > 1 else 0
