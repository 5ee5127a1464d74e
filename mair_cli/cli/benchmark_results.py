"""What `mair benchmark` shows and writes when it has measured."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mair_cli.cli import console
from mair_cli.errors import UsageError

if TYPE_CHECKING:
    from mair_cli.benchmark.report import BenchmarkReport
    from mair_cli.benchmark.report_files import ReportKind
    from mair_cli.benchmark.runs import Summary
    from mair_cli.benchmark.state import Row
    from mair_cli.tasks import Channel


@dataclass(frozen=True)
class Targets:
    """Where results go; None for nowhere."""

    json: Path | None
    csv: Path | None
    html: Path | None
    images: Path | None
    html_images: int

    def reports(self) -> Iterator[tuple[Path, ReportKind]]:
        """Files asked for, and what each will hold."""
        if self.json is not None:
            yield self.json, "json"
        if self.csv is not None:
            yield self.csv, "csv"
        if self.html is not None:
            yield self.html, "html"

    def check(self, inputs: Collection[Path], methods: Collection[str] = (), images: Collection[str] = ()) -> None:
        """Make sure, before anything is measured, that no result would destroy a file that is not its forerunner.

        Args:
            inputs: files that the run reads.
            methods: names that methods may have, which are those of folders of images.
            images: names of what is measured.

        Raises:
            UsageError: one would, or two results have one name.
        """
        from mair_cli.benchmark.report_files import check_report_file

        for path, kind in self.reports():
            check_report_file(path, kind, inputs)
        files = [path.resolve() for path, _ in self.reports()]
        if len(set(files)) < len(files):
            raise UsageError("--json, --csv and --html need a file each: two of them name the same")
        if self.images is not None:
            for method in methods:
                _check_pictures(self.images / method, inputs, images)


def _check_pictures(folder: Path, inputs: Collection[Path], names: Collection[str]) -> None:
    """Refuse to save into a folder of inputs, or over pictures that are not by an earlier benchmark."""
    from mair_cli.errors import ImageError
    from mair_cli.images.io import probe
    from mair_cli.restore.signature import task_signed

    for path in inputs:
        if path.resolve().parent == folder.resolve():
            raise UsageError(f"`save_images`: {path}, which is measured, lies where results go")
    for path in (folder / f"{name}.png" for name in names if folder.is_dir()):
        try:
            ours = not os.path.lexists(path) or task_signed(probe(path).software) is not None
        except ImageError:
            ours = False
        if not ours:
            raise UsageError(f"`save_images`: {path} is no result of mair-cli and would be replaced: choose another")


def show(report: BenchmarkReport) -> None:
    """Each image, the means, and published figures, as tables on stdout."""
    channel = report.outcome.protocol.headline
    names = [summary.method.name for summary in report.summaries]
    body = [
        [image, *(cell for name in names for cell in _figure_cells(by_method[name], channel))]
        for image, by_method in report.by_image().items()
    ]
    columns = ["image", *(f"{name}\n{figure}" for name in names for figure in ("PSNR", "SSIM"))]
    console.table(f"{report.title}: each image, on {channel.upper()}", columns, body)
    console.table(f"{report.title}: means", _SUMMARY_COLUMNS, [_summary_row(summary) for summary in report.summaries])
    _show_published(report)


def _figure_cells(row: Row, channels: Channel) -> list[str]:
    from mair_cli.benchmark.report import decibels, on_channels, similarity

    if row.measurement is None:
        return ["failed", ""]
    psnr, ssim = on_channels(row.measurement, channels)
    return [decibels(psnr), similarity(ssim)]


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


def _show_published(report: BenchmarkReport) -> None:
    if report.comparable:
        _published_table(report)
    for remark in report.published_notes():
        console.note(remark)


def _published_table(report: BenchmarkReport) -> None:
    from mair_cli.benchmark.report import decibels, similarity

    measured = [(summary, figures) for summary in report.comparable if (figures := report.headline(summary))]
    rows = []
    for figure in report.published:
        same = any(report.published_row(summary) is figure for summary, _ in measured)
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


def write(report: BenchmarkReport, targets: Targets) -> None:
    """Write the files that were asked for.

    Raises:
        MairError: one cannot be written.
    """
    from mair_cli.benchmark.report import render_csv, render_json
    from mair_cli.benchmark.report_files import write_report

    written = []
    for path, kind in targets.reports():
        if kind == "html":
            from mair_cli.benchmark.html import render_html

            text = render_html(report, targets.html_images)
        else:
            text = render_json(report) if kind == "json" else render_csv(report)
        write_report(path, text)
        written.append(path)
    if targets.images:
        _save_images(report, targets.images)
        written.append(targets.images)
    if written:
        console.note(f"written: {', '.join(str(path) for path in written)}")


def _save_images(report: BenchmarkReport, folder: Path) -> None:
    from mair_cli.errors import MairError
    from mair_cli.images.io import Picture, write_picture
    from mair_cli.restore.signature import signed

    for row in report.outcome.rows:
        if row.measurement is None:
            continue
        path = folder / row.method / f"{row.image}.png"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MairError(f"--save-images: {path.parent} cannot be made ({error.strerror})") from error
        picture = Picture(color=report.outcome.output(row.method, row.image))
        write_picture(signed(picture, report.outcome.protocol.task), path, "PNG", None)
