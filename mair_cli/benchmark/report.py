"""The result of a benchmark as data: everything that tables, JSON, CSV and the HTML page show."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from mair_cli.benchmark.published import PublishedFigure, counterpart
from mair_cli.benchmark.runs import BenchmarkResults, Summary, summarise
from mair_cli.benchmark.state import Row
from mair_cli.measure.protocol import Measurement
from mair_cli.tasks import Channel
from mair_cli.version import __version__

__all__ = ["BenchmarkReport", "decibels", "figure_text", "on_channels", "render_csv", "render_json", "similarity"]

_FIGURES = ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb", "ssim_3d")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t")


@dataclass
class BenchmarkReport:
    """A finished benchmark.

    Attributes:
        dataset: name of the set.
        outcome: everything measured.
        settings: how it was run, by label, for people.
        environment: see `describe_environment`.
        published: figures of papers for the same set, task and degree.
        full_set: number of images of the published set, which `published` are means over; None for a folder of one's
            own.
        verified: (files equal to the catalogue's, files compared); (0, 0) where there is nothing to compare.
        problems: files left out, and why.
        notes: what else the reader should know.
        ensemble: whether networks ran with self-ensemble.
    """

    dataset: str
    outcome: BenchmarkResults
    settings: Mapping[str, str]
    environment: Mapping[str, str]
    published: Sequence[PublishedFigure] = ()
    full_set: int | None = None
    verified: tuple[int, int] = (0, 0)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ensemble: bool = False

    def __post_init__(self) -> None:
        self.summaries: list[Summary] = summarise(self.outcome)

    @property
    def title(self) -> str:
        """Data set, task and degree."""
        return f"{self.dataset}, {self.outcome.protocol.title}"

    def headline(self, summary: Summary) -> tuple[float, float] | None:
        """Mean PSNR and SSIM on the channels that papers print; None where nothing was measured."""
        return None if summary.mean is None else on_channels(summary.mean, self.outcome.protocol.headline)

    @property
    def comparable(self) -> list[Summary]:
        """Methods measured on as many images as published means cover: only these may stand beside those."""
        if not self.published:
            return []
        return [summary for summary in self.summaries if summary.mean and summary.images == self.full_set]

    def published_row(self, summary: Summary) -> PublishedFigure | None:
        """The published figure of the very same method, weights and images, if known."""
        return counterpart(summary.method, self.published, self.ensemble) if summary in self.comparable else None

    def by_image(self) -> dict[str, dict[str, Row]]:
        """Results of each image by method."""
        rows: dict[str, dict[str, Row]] = {}
        for row in self.outcome.rows:
            rows.setdefault(row.image, {})[row.method] = row
        return rows

    def _gray_notes(self) -> list[str]:
        """Papers differ in what Y of a gray image is, and with it in their means (Set14 has one such image)."""
        images = sorted({row.image for row in self.outcome.rows if row.gray})
        if not images or self.outcome.protocol.headline != "y":
            return []
        less = 20 * math.log10(255 / 219) * len(images) / len(self.outcome.samples)
        return [
            f"{', '.join(images)}: gray, and measured as three equal channels like MaIR's own code does; papers that "
            f"measure in MATLAB (Bicubic, SRCNN … RCAN) take gray as it is, which gives {less:.2f} dB less in the mean"
        ]

    def published_notes(self) -> list[str]:
        """What to bear in mind when measured figures stand beside published ones, or why they do not.

        Empty where none are known.
        """
        if not self.published:
            return []
        comparable, others = self.comparable, defaultdict(list)
        for summary in self.summaries:
            if summary not in comparable:
                others[summary.images].append(summary.method.name)
        full = f"all {self.full_set}" if self.full_set else "a whole set"
        notes = [
            f"{', '.join(names)}: measured on {count} image{'' if count == 1 else 's'}; published figures are means "
            f"over {full}, so they are not compared"
            for count, names in others.items()
        ]
        if not comparable:
            return notes
        if self.outcome.protocol.kind.measured_whole:
            notes.append("published SSIM of this task has a window over channels too: it compares with SSIM 3-D")
        notes += [
            f"{summary.method.name}: {_other_weights(summary)}"
            for summary in comparable
            if summary.method.kind == "model" and self.published_row(summary) is None
        ]
        notes += self._gray_notes()
        equal, compared = self.verified
        if equal < compared:
            notes.append(f"{compared - equal} of {compared} files differ from those of the published set")
        unconfirmed = sorted({figure.method for figure in self.published if figure.note.startswith("unconfirmed")})
        if unconfirmed:
            notes.append(f"unconfirmed: the figures of {', '.join(unconfirmed)} come from notes, not from the article")
        return notes


def _other_weights(summary: Summary) -> str:
    if summary.method.model:
        return "these are not the weights behind any published row"
    return "weights from a file; whether they are those behind a published row cannot be told"


def on_channels(figures: Measurement, channels: Channel) -> tuple[float, float]:
    """PSNR and SSIM on Y or on RGB."""
    return (figures.psnr_y, figures.ssim_y) if channels == "y" else (figures.psnr_rgb, figures.ssim_rgb)


def decibels(value: float) -> str:
    """PSNR for people."""
    return "∞" if math.isinf(value) else f"{value:.2f}"


def similarity(value: float) -> str:
    """SSIM for people."""
    return f"{value:.4f}"


def figure_text(figures: Measurement) -> str:
    """All four figures in one line."""
    return (
        f"Y {decibels(figures.psnr_y)} dB / {similarity(figures.ssim_y)}, "
        f"RGB {decibels(figures.psnr_rgb)} dB / {similarity(figures.ssim_rgb)}"
    )


def _plain(value: object) -> object:
    """JSON knows no infinity: it becomes null, and `equal` says so."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _perceptual(figures: Measurement | None) -> dict[str, object]:
    return {} if figures is None else {name: _plain(value) for name, value in figures.perceptual.items()}


def _row_fields(row: Row) -> dict[str, object]:
    figures = asdict(row.measurement) if row.measurement else dict.fromkeys(_FIGURES)
    return {
        "image": row.image,
        "method": row.method,
        "width": row.width,
        "height": row.height,
        **{name: _plain(figures[name]) for name in _FIGURES},
        **_perceptual(row.measurement),
        "equal": row.measurement is not None and math.isinf(row.measurement.psnr_rgb),
        "seconds": row.seconds,
        "megapixels_per_second": row.megapixels_per_second,
        "peak_memory_bytes": row.peak_memory,
        "error": row.error,
    }


def _summary_fields(report: BenchmarkReport, summary: Summary) -> dict[str, object]:
    figures = asdict(summary.mean) if summary.mean else dict.fromkeys(_FIGURES)
    same = report.published_row(summary)
    return {
        **asdict(summary.method),
        "images": summary.images,
        "failed": summary.failed,
        **{name: _plain(figures[name]) for name in _FIGURES},
        **_perceptual(summary.mean),
        "seconds": summary.seconds,
        "megapixels_per_second": summary.megapixels_per_second,
        "peak_memory_bytes": summary.peak_memory,
        "published": asdict(same) if same else None,
    }


def render_json(report: BenchmarkReport) -> str:
    """The whole report as JSON; infinite PSNR is null, with `equal` true."""
    protocol = report.outcome.protocol
    content = {
        "generator": f"mair-cli {__version__}",  # first: `report_files` knows our files by it
        "format": 1,
        "dataset": {"name": report.dataset, "images": len(report.outcome.samples), "full_set": report.full_set},
        "task": protocol.task,
        "scale": protocol.scale,
        "sigma": protocol.sigma,
        "headline": protocol.headline,
        "crop": protocol.crop,
        "settings": dict(report.settings),
        "environment": dict(report.environment),
        "methods": [_summary_fields(report, summary) for summary in report.summaries],
        "images": [_row_fields(row) for row in report.outcome.rows],
        "published": [asdict(figure) for figure in report.published],
        "comparison_notes": report.published_notes(),
        "problems": report.problems,
        "notes": report.notes,
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def render_csv(report: BenchmarkReport) -> str:
    """One line per image and method, then one line `mean` per method; `images` says how many a line covers.

    Text that a spreadsheet would take for a formula has an apostrophe before it, as OWASP advises against CSV
    injection.
    """
    protocol = report.outcome.protocol
    same = {"dataset": report.dataset, "task": protocol.title}
    lines = [{**same, **_row_fields(row), "images": int(row.measurement is not None)} for row in report.outcome.rows]
    for summary in report.summaries:
        fields = _summary_fields(report, summary)
        lines.append({**same, "image": "mean", "method": summary.method.name, **_only(fields, _longest(lines))})
    stream = io.StringIO()
    columns = list(_longest(lines))  # an image that could not be measured has no perceptual figures
    writer = csv.DictWriter(stream, fieldnames=columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in line.items()} for line in lines)
    return stream.getvalue()


def _longest(lines: Sequence[dict[str, object]]) -> dict[str, object]:
    return max(lines, key=lambda line: len(line))  # noqa: PLW0108 - mypy cannot tell `len` here


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = value.replace("\r", r"\r")  # which the csv module does not quote, though readers take it for a line's end
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _only(fields: Mapping[str, object], wanted: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if name in wanted}
