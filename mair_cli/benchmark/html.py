"""A benchmark as one self-contained HTML page: summary, plot, sorted table, sliders, details where methods differ."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from mair_cli.benchmark.page import Cell, Column, Layer, anchor, embed, facts, fill, notes, table, viewer
from mair_cli.benchmark.plot import Point, Reference, quality_time_plot
from mair_cli.benchmark.published import PublishedFigure
from mair_cli.benchmark.report import Report, decibels, similarity
from mair_cli.benchmark.runs import Summary
from mair_cli.benchmark.state import Row
from mair_cli.datasets.pairs import Sample
from mair_cli.datasets.resize import matlab_bicubic
from mair_cli.errors import ImageError
from mair_cli.measure.differences import Spot, most_different_spot
from mair_cli.measure.metrics import psnr
from mair_cli.measure.protocol import Measurement, load_pair, to_bytes

__all__ = ["render_html"]

log = logging.getLogger(__name__)

_LOSSLESS_PIXELS = 60_000_000
"""Up to this many pixels in all, pictures are embedded bit for bit: about 90 MB; beyond, at WebP quality 92."""
_MOST_PIXELS = 200_000_000
"""Beyond this many pixels in all the page shows fewer images than asked for (unless all were): 600 MB of memory."""
_CROPS = 8
_CROP_SIDE = 52
_REFERENCES = 5


@dataclass(frozen=True)
class _Shown:
    """One image of the page: its pictures by method, and where they differ."""

    sample: Sample
    layers: list[Layer]
    right: int
    spot: Spot


def render_html(report: Report, most_images: int = 40) -> str:
    """The page as text.

    Args:
        report: of a run that kept its outputs.
        most_images: sliders for at most this many images (fewer where they are large), those in which the methods
            differ most; 0 for all.
    """
    shown = _choose(report, most_images)
    lossless = _pixels(shown) <= _LOSSLESS_PIXELS
    sections = [
        f"<h1>{escape(report.title)}</h1>",
        f'<p class="lead">{escape(_lead(report))}</p>',
        notes(report.problems + report.notes),
        "<h2>Summary</h2>",
        f'<div class="card">{_summary_table(report)}</div>',
        _plot(report),
        _published(report),
        _image_table(report, {item.sample.name for item in shown}),
        _crops(report, shown),
        _viewers(report, shown, lossless),
        '<h2>How it was measured</h2><div class="card two">',
        f"{facts(report.settings)}{facts(report.environment)}</div>",
        f"<footer>Made by mair-cli {escape(report.environment.get('mair-cli', ''))}.</footer>",
    ]
    return fill(report.title, "\n".join(section for section in sections if section))


def _lead(report: Report) -> str:
    count = len(report.outcome.samples)
    of = f" of {report.full_set}" if report.full_set and report.full_set != count else ""
    equal, compared = report.verified
    checked = f"; {equal} of {compared} files equal the published set's" if compared else ""
    return f"{count}{of} image{'s' if count != 1 else ''}, {len(report.summaries)} methods side by side{checked}."


# ------------------------------------------------------------------------------------------ tables


def _summary_table(report: Report) -> str:
    columns = [Column("method", numeric=False), Column("images")]
    columns += [Column(name) for name in ("PSNR Y", "SSIM Y", "PSNR RGB", "SSIM RGB")]
    columns += [Column(name) for name in ("s/image", "MP/s", "peak memory", "parameters")]
    columns.append(Column("what it is", numeric=False))
    rows = []
    for summary in report.summaries:
        mean, info = summary.mean, summary.method
        images = f"{summary.images}" + (f" ({summary.failed} failed)" if summary.failed else "")
        cells = [Cell(escape(info.name), info.name), Cell(images, summary.images)]
        if mean is None:
            cells += [Cell("–", "") for _ in range(7)]
        else:
            cells += [Cell(decibels(mean.psnr_y), mean.psnr_y), Cell(similarity(mean.ssim_y), mean.ssim_y)]
            cells += [Cell(decibels(mean.psnr_rgb), mean.psnr_rgb), Cell(similarity(mean.ssim_rgb), mean.ssim_rgb)]
            cells += [Cell(f"{summary.seconds:.3g}", summary.seconds), _speed(summary), _memory(summary)]
        cells.append(Cell(f"{info.parameters:,}", info.parameters) if info.parameters else Cell("–", ""))
        cells.append(Cell(escape(info.description), style="text wrap"))
        rows.append(cells)
    return table(columns, rows)


def _speed(summary: Summary) -> Cell:
    value = summary.megapixels_per_second
    return Cell("–", "") if value is None else Cell(f"{value:.3g}", value)


def _memory(summary: Summary) -> Cell:
    value = summary.peak_memory
    return Cell("–", "") if value is None else Cell(f"{value / 2**20:,.0f}&nbsp;MiB", value)


def _image_table(report: Report, linked: set[str]) -> str:
    channel = report.outcome.protocol.headline
    columns = [Column("image", numeric=False), Column("pixels")]
    columns += [Column(name) for _ in report.summaries for name in ("PSNR", "SSIM", "s")]
    rows: dict[str, dict[str, Row]] = {}
    for row in report.outcome.rows:
        rows.setdefault(row.image, {})[row.method] = row
    body = []
    for image, by_method in rows.items():
        size = next(iter(by_method.values()))
        name = f'<a href="#{anchor(image)}">{escape(image)}</a>' if image in linked else escape(image)
        cells = [Cell(name, image), Cell(f"{size.width}×{size.height}", size.width * size.height)]
        for summary in report.summaries:
            cells += _figure_cells(by_method.get(summary.method.name), channel)
        body.append(cells)
    foot = [Cell("mean"), Cell("")]
    for summary in report.summaries:
        foot += _mean_cells(summary, channel)
    groups = [("", 2), *((escape(summary.method.name), 3) for summary in report.summaries)]
    options = "".join(
        f'<option value="{value}"{" selected" if value == channel else ""}>{label}</option>'
        for value, label in (("y", "Y"), ("rgb", "RGB"))
    )
    return (
        '<h2>Image by image</h2><div class="card"><div class="tools"><label>PSNR and SSIM on '
        f'<select class="channel">{options}</select></label><span>Click a heading to sort.</span></div>'
        f"{table(columns, body, groups=groups, foot=foot, style='wide')}</div>"
    )


def _figure_cells(row: Row | None, channel: str) -> list[Cell]:
    if row is None or row.measurement is None:
        reason = row.error if row else "not measured"
        return [Cell("failed", "", "failed", f'title="{escape(reason)}"'), Cell("", ""), Cell("", "")]
    figures = row.measurement
    return [
        _switched(figures.psnr_y, figures.psnr_rgb, "psnr", 2, channel),
        _switched(figures.ssim_y, figures.ssim_rgb, "ssim", 4, channel),
        Cell(f"{row.seconds:.3g}", row.seconds),
    ]


def _mean_cells(summary: Summary, channel: str) -> list[Cell]:
    if summary.mean is None:
        return [Cell("–", ""), Cell("–", ""), Cell("–", "")]
    mean = summary.mean
    return [
        _switched(mean.psnr_y, mean.psnr_rgb, "psnr", 2, channel),
        _switched(mean.ssim_y, mean.ssim_rgb, "ssim", 4, channel),
        Cell(f"{summary.seconds:.3g}", summary.seconds),
    ]


def _switched(on_y: float, on_rgb: float, style: str, digits: int, channel: str) -> Cell:
    """A cell that holds the figure of both channels; the page's script shows the chosen one."""
    value = on_y if channel == "y" else on_rgb
    text = decibels(value) if style == "psnr" else similarity(value)
    return Cell(text, value, style, f'data-y="{_script(on_y)}" data-rgb="{_script(on_rgb)}" data-digits="{digits}"')


def _script(value: float) -> str:
    return "Infinity" if math.isinf(value) else repr(value)


# ------------------------------------------------------------------------------------------ published figures


def _published(report: Report) -> str:
    if not report.published:
        return ""
    models = [summary for summary in report.summaries if report.headline(summary) is not None]
    channel = report.outcome.protocol.headline.upper()
    columns = [Column("published", numeric=False), Column("parameters", numeric=False), Column("PSNR"), Column("SSIM")]
    columns += [Column(f"{escape(summary.method.name)} is") for summary in models]
    columns.append(Column("source", numeric=False))
    sources = sorted({figure.source for figure in report.published})
    rows = []
    for figure in reversed(report.published):
        ssim = Cell("–", "") if figure.ssim is None else Cell(similarity(figure.ssim), figure.ssim)
        cells = [Cell(escape(figure.method), figure.method), Cell(escape(figure.parameters or "–"), style="text")]
        cells += [Cell(decibels(figure.psnr), figure.psnr), ssim]
        for summary in models:
            measured = report.headline(summary)
            assert measured is not None
            same = report.published_row(summary) is figure
            difference = measured[0] - figure.psnr
            cells.append(Cell(f"{difference:+.2f}", difference, "best" if same else ""))
        cells.append(Cell(escape(_origin(figure, sources)), style="text wrap"))
        rows.append(cells)
    return (
        f'<h2>Beside published figures</h2><p class="hint">Means on {channel}, as papers print them; the columns '
        "“… is” give measured minus published PSNR, in dB. Bold: the very same method and weights.</p>"
        f"{notes(report.comparison_notes())}"
        f'<div class="card">{table(columns, rows)}<ol class="sources">'
        f"{''.join(f'<li>{escape(source)}</li>' for source in sources)}</ol></div>"
    )


def _origin(figure: PublishedFigure, sources: Sequence[str]) -> str:
    """Who reported a figure, with the number of the source in the list below the table."""
    number = sources.index(figure.source) + 1
    remark = f"; {figure.note}" if figure.note else ""
    return f"{'the method’s own' if figure.primary else 'reported by others'} [{number}]{remark}"


def _plot(report: Report) -> str:
    points = []
    for summary in report.summaries:
        measured = report.headline(summary)
        if measured is not None:
            points.append(Point(summary.method.name, summary.seconds, measured[0]))
    # A few published lines are enough to see where one stands: the lowest, the highest, and some between.
    published = [
        figure for figure in report.published if figure.method.lower() not in {point.label for point in points}
    ]
    picked = sorted({round(index) for index in np.linspace(0, len(published) - 1, min(_REFERENCES, len(published)))})
    references = [Reference(published[index].method, published[index].psnr) for index in picked]
    drawing = quality_time_plot(points, references, report.outcome.protocol.headline.upper())
    if not drawing:
        return ""
    hint = "Dotted lines are published figures, whose times are not known." if references else ""
    return f'<h2>Quality and time</h2><p class="hint">{hint}</p><div class="card scroll">{drawing}</div>'


# ------------------------------------------------------------------------------------------ pictures


def _choose(report: Report, most: int) -> list[_Shown]:
    """The images to show, in the order of the table."""
    found = []
    for sample in report.outcome.samples:
        item = _load(report, sample)
        if item is not None:
            found.append(item)
            # Keep no more pictures in memory than the page will hold.
            while most and (len(found) > most or (_pixels(found) > _MOST_PIXELS and len(found) > 1)):
                found.remove(min(found, key=lambda item: item.spot.difference))
    return found


def _pixels(shown: Sequence[_Shown]) -> int:
    return sum(layer.image.size // 3 for item in shown for layer in item.layers)


def _load(report: Report, sample: Sample) -> _Shown | None:
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
    enlarged = matlab_bicubic(pair.degraded, protocol.scale) if protocol.task == "sr" else to_bytes(pair.degraded)
    layers = [Layer("input, bicubic" if protocol.task == "sr" else "input", enlarged)]
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
    return _Shown(sample, layers, right if right else len(layers) - 1, most_different_spot(compared, _CROP_SIDE))


def _caption(figures: Measurement, channel: str) -> str:
    value, similar = (figures.psnr_y, figures.ssim_y) if channel == "y" else (figures.psnr_rgb, figures.ssim_rgb)
    return f"{decibels(value)} dB / {similarity(similar)}"


def _best_layer(report: Report, layers: Sequence[Layer]) -> int:
    """The first network's layer, which the slider shows at first; the first other method's where there is none."""
    names = [summary.method.name for summary in report.summaries if summary.method.kind == "model"]
    for index, layer in enumerate(layers):
        if layer.label in names:
            return index
    return 1 if len(layers) > 1 else 0


def _viewers(report: Report, shown: Sequence[_Shown], lossless: bool) -> str:
    if not shown:
        return ""
    count = len({row.image for row in report.outcome.rows if row.measurement})
    hints = ["Drag the handle, or use the arrow keys."]
    if len(shown) < count:
        hints.append(f"The {len(shown)} of {count} images in which the methods differ most.")
    hints.append("Pictures are bit for bit as measured." if lossless else "Pictures are compressed (WebP, quality 92).")
    cards = "\n".join(viewer(item.sample.name, item.layers, right=item.right, lossless=lossless) for item in shown)
    return f'<h2>Before and after</h2><p class="hint">{" ".join(hints)}</p>\n{cards}'


def _crops(report: Report, shown: Sequence[_Shown]) -> str:
    rows = []
    for item in sorted(shown, key=lambda item: -item.spot.difference)[:_CROPS]:
        truth = item.spot.cut(item.layers[-1].image)
        figures = []
        for layer in item.layers:
            cut = item.spot.cut(layer.image)
            level = "" if layer is item.layers[-1] else f" {decibels(psnr(cut, truth))} dB"
            figures.append(
                f'<figure><img alt="" src="{embed(cut)}"><figcaption>{escape(layer.label)}{level}</figcaption></figure>'
            )
        link = f'<a href="#{anchor(item.sample.name)}">{escape(item.sample.name)}</a>'
        place = f"{item.spot.side} pixels at ({item.spot.left}, {item.spot.top})"
        rows.append(f'<div><p class="hint">{link}, {place}</p><div class="row">{"".join(figures)}</div></div>')
    if not rows:
        return ""
    return (
        "<h2>Where they differ most</h2>"
        '<p class="hint">Details three times enlarged; PSNR on RGB within the detail.</p>'
        f'<div class="card crops">{"".join(rows)}</div>'
    )
