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


@dataclass(frozen=True)
class Targets:
    """Where results go; None for nowhere."""

    json: Path | None
    csv: Path | None
    html: Path | None
    markdown: Path | None
    latex: Path | None
    images: Path | None
    html_images: int

    def reports(self) -> Iterator[tuple[Path, ReportKind]]:
        """Files asked for, and what each will hold."""
        kinds: dict[ReportKind, Path | None] = {
            "json": self.json,
            "csv": self.csv,
            "html": self.html,
            "markdown": self.markdown,
            "latex": self.latex,
        }
        return ((path, kind) for kind, path in kinds.items() if path is not None)

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
            raise UsageError("reports need a file each: two of them name the same")
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
    from mair_cli.benchmark.report_tables import costs_table, image_table, means_table, published_table

    for table in (image_table(report), means_table(report), costs_table(report)):
        console.table(*table)
    published = published_table(report)
    if published is not None:
        console.table(*published)
        if any(row[0].endswith(" *") for row in published.rows):
            console.note("*: measured here with the same method and weights")
    for remark in report.published_notes():
        console.note(remark)


def write(report: BenchmarkReport, targets: Targets) -> None:
    """Write the files that were asked for.

    Raises:
        MairError: one cannot be written.
    """
    from mair_cli.benchmark.report_files import write_report

    written = []
    for path, kind in targets.reports():
        text = _rendered(report, kind, targets.html_images)
        write_report(path, text)
        written.append(path)
    if targets.images:
        _save_images(report, targets.images)
        written.append(targets.images)
    if written:
        console.note(f"written: {', '.join(str(path) for path in written)}")


def _rendered(report: BenchmarkReport, kind: ReportKind, html_images: int) -> str:
    from mair_cli.benchmark import report as data
    from mair_cli.benchmark import report_tables

    if kind == "html":
        from mair_cli.benchmark.html import render_html

        return render_html(report, html_images)
    renderers = {
        "json": data.render_json,
        "csv": data.render_csv,
        "markdown": report_tables.render_markdown,
        "latex": report_tables.render_latex,
    }
    return renderers[kind](report)


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
