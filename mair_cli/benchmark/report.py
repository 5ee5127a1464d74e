"""The result of a benchmark as data: everything that tables, JSON, CSV and the HTML page show."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mair_cli.benchmark.published import PublishedFigure, counterpart
from mair_cli.benchmark.runs import Outcome, Summary, summarise
from mair_cli.benchmark.state import Row
from mair_cli.errors import MairError

__all__ = ["Report", "decibels", "render_csv", "render_json", "similarity", "write_text"]

_FIGURES = ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb")


@dataclass
class Report:
    """A finished benchmark.

    Attributes:
        dataset: name of the set.
        outcome: everything measured.
        settings: how it was run, by label, for people.
        environment: see `describe_environment`.
        published: figures of papers for the same set, task and degree.
        full_set: number of images of the published set; None for a folder of one's own.
        verified: (files equal to the catalogue's, files compared); (0, 0) where there is nothing to compare.
        problems: files left out, and why.
        notes: what else the reader should know.
        ensemble: whether networks ran with self-ensemble.
    """

    dataset: str
    outcome: Outcome
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
        if summary.mean is None:
            return None
        figures = asdict(summary.mean)
        channel = self.outcome.protocol.headline
        return figures[f"psnr_{channel}"], figures[f"ssim_{channel}"]

    def published_row(self, summary: Summary) -> PublishedFigure | None:
        """The published figure of the very same method and weights, if known."""
        return counterpart(summary.method, self.published, self.ensemble)

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

    def comparison_notes(self) -> list[str]:
        """What to bear in mind when measured figures stand beside published ones; empty where none are known."""
        if not self.published:
            return []
        notes = [
            f"{summary.method.name}: {_other_weights(summary)}"
            for summary in self.summaries
            if summary.method.kind == "model" and self.published_row(summary) is None
        ]
        covered = {summary.images for summary in self.summaries if summary.images}
        if self.full_set and covered - {self.full_set}:
            counts = " and ".join(str(count) for count in sorted(covered))
            notes.append(f"measured on {counts} images; published figures are means over all {self.full_set}")
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


def decibels(value: float) -> str:
    """PSNR for people."""
    return "∞" if math.isinf(value) else f"{value:.2f}"


def similarity(value: float) -> str:
    """SSIM for people."""
    return f"{value:.4f}"


def _plain(value: object) -> object:
    """JSON knows no infinity: it becomes null, and `equal` says so."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _row_fields(row: Row) -> dict[str, object]:
    figures = asdict(row.measurement) if row.measurement else dict.fromkeys(_FIGURES)
    return {
        "image": row.image,
        "method": row.method,
        "width": row.width,
        "height": row.height,
        **{name: _plain(figures[name]) for name in _FIGURES},
        "equal": row.measurement is not None and math.isinf(row.measurement.psnr_rgb),
        "seconds": row.seconds,
        "megapixels_per_second": row.megapixels_per_second,
        "peak_memory_bytes": row.peak_memory,
        "error": row.error,
    }


def _summary_fields(report: Report, summary: Summary) -> dict[str, object]:
    figures = asdict(summary.mean) if summary.mean else dict.fromkeys(_FIGURES)
    same = report.published_row(summary)
    return {
        **asdict(summary.method),
        "images": summary.images,
        "failed": summary.failed,
        **{name: _plain(figures[name]) for name in _FIGURES},
        "seconds": summary.seconds,
        "megapixels_per_second": summary.megapixels_per_second,
        "peak_memory_bytes": summary.peak_memory,
        "published": asdict(same) if same else None,
    }


def render_json(report: Report) -> str:
    """The whole report as JSON; infinite PSNR is null, with `equal` true."""
    protocol = report.outcome.protocol
    content = {
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
        "comparison_notes": report.comparison_notes(),
        "problems": report.problems,
        "notes": report.notes,
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def render_csv(report: Report) -> str:
    """One line per image and method, then one line `mean` per method; `images` says how many a line covers."""
    protocol = report.outcome.protocol
    same = {"dataset": report.dataset, "task": protocol.title}
    lines = [{**same, **_row_fields(row), "images": int(row.measurement is not None)} for row in report.outcome.rows]
    for summary in report.summaries:
        fields = _summary_fields(report, summary)
        lines.append({**same, "image": "mean", "method": summary.method.name, **_only(fields, lines[0])})
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(lines[0]), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue()


def _only(fields: Mapping[str, object], wanted: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if name in wanted}


def write_text(path: Path, text: str) -> None:
    """Write a report under a temporary name and rename it: a half-written report never exists.

    Raises:
        MairError: the file cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise MairError(f"{path}: the report cannot be written ({error.strerror})") from error
