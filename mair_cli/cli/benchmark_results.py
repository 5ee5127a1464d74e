"""What `mair benchmark` shows and writes when it has measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mair_cli.cli import console

if TYPE_CHECKING:
    from mair_cli.benchmark.report import Report
    from mair_cli.benchmark.runs import Summary


@dataclass(frozen=True)
class Targets:
    """Where results go; None for nowhere."""

    json: Path | None
    csv: Path | None
    html: Path | None
    images: Path | None
    html_images: int


def show(report: Report) -> None:
    """Each image, the means, and published figures, as tables on stdout."""
    from mair_cli.benchmark.report import decibels, similarity

    channel = report.outcome.protocol.headline
    names = [summary.method.name for summary in report.summaries]
    rows: dict[str, dict[str, list[str]]] = {}
    for row in report.outcome.rows:
        figures = row.measurement
        if figures is None:
            cells = ["failed", ""]
        elif channel == "y":
            cells = [decibels(figures.psnr_y), similarity(figures.ssim_y)]
        else:
            cells = [decibels(figures.psnr_rgb), similarity(figures.ssim_rgb)]
        rows.setdefault(row.image, {})[row.method] = cells
    body = [[image, *(cell for name in names for cell in cells[name])] for image, cells in rows.items()]
    columns = ["image", *(f"{name}\n{figure}" for name in names for figure in ("PSNR", "SSIM"))]
    console.table(f"{report.title}: each image, on {channel.upper()}", columns, body)
    console.table(f"{report.title}: means", _SUMMARY_COLUMNS, [_summary_row(summary) for summary in report.summaries])
    _show_published(report)


_SUMMARY_COLUMNS = (
    "method",
    "images",
    "PSNR\nY",
    "SSIM\nY",
    "PSNR\nRGB",
    "SSIM\nRGB",
    "s per\nimage",
    "MP/s",
    "MiB",
    "1000 par-\nameters",
)


def _summary_row(summary: Summary) -> list[str]:
    from mair_cli.benchmark.report import decibels, similarity

    mean = summary.mean
    images = f"{summary.images}" + (f" of {summary.images + summary.failed}" if summary.failed else "")
    if mean is None:
        return [summary.method.name, images, *["–"] * 8]
    speed, memory = summary.megapixels_per_second, summary.peak_memory
    return [
        summary.method.name,
        images,
        decibels(mean.psnr_y),
        similarity(mean.ssim_y),
        decibels(mean.psnr_rgb),
        similarity(mean.ssim_rgb),
        f"{summary.seconds:.3g}",
        "–" if speed is None else f"{speed:.3g}",
        "–" if memory is None else f"{memory / 2**20:.0f}",
        "–" if summary.method.parameters is None else f"{summary.method.parameters / 1000:.0f}",
    ]


def _show_published(report: Report) -> None:
    from mair_cli.benchmark.report import decibels, similarity

    if not report.published:
        return
    measured = [(summary, figures) for summary in report.summaries if (figures := report.headline(summary))]
    rows = []
    for figure in report.published:
        same = [summary.method.name for summary, _ in measured if report.published_row(summary) is figure]
        rows.append(
            [
                figure.method + (" *" if same else ""),
                figure.parameters or "–",
                decibels(figure.psnr),
                "–" if figure.ssim is None else similarity(figure.ssim),
                *(f"{figures[0] - figure.psnr:+.2f}" for _, figures in measured),
                "own" if figure.primary else ("notes" if figure.note.startswith("unconfirmed") else "others"),
            ]
        )
    columns = ["published", "parameters", "PSNR", "SSIM", *(f"{summary.method.name}\nis" for summary, _ in measured)]
    channel = report.outcome.protocol.headline.upper()
    console.table(f"{report.title}: beside published figures, on {channel}", [*columns, "source"], rows)
    if any(report.published_row(summary) for summary, _ in measured):
        console.note("*: measured here with the same method and weights")
    for remark in report.comparison_notes():
        console.note(remark)


def write(report: Report, targets: Targets) -> None:
    """Write the files that were asked for.

    Raises:
        MairError: one cannot be written.
    """
    from mair_cli.benchmark.html import render_html
    from mair_cli.benchmark.report import render_csv, render_json, write_text

    if targets.json:
        write_text(targets.json, render_json(report))
    if targets.csv:
        write_text(targets.csv, render_csv(report))
    if targets.images:
        _save_images(report, targets.images)
    if targets.html:
        write_text(targets.html, render_html(report, targets.html_images))
    written = [path for path in (targets.json, targets.csv, targets.html, targets.images) if path]
    if written:
        console.note(f"written: {', '.join(str(path) for path in written)}")


def _save_images(report: Report, folder: Path) -> None:
    from mair_cli.errors import MairError
    from mair_cli.images.io import Picture, write_picture

    for row in report.outcome.rows:
        if row.measurement is None:
            continue
        path = folder / row.method / f"{row.image}.png"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MairError(f"--save-images: {path.parent} cannot be made ({error.strerror})") from error
        write_picture(Picture(color=report.outcome.output(row.method, row.image)), path, "PNG", None)
