"""`mair compare`: two or three images beside one another, in figures and on a slider page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mair_cli.cli import console
from mair_cli.cli.options import OUTPUT, REPORT, Quiet, Verbose
from mair_cli.errors import UsageError


def compare(
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="A B [C]", help="Two or three images; the last is what the others are measured against."
        ),
    ],
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", rich_help_panel=OUTPUT, help="One page with a slider over the images."),
    ] = None,
    crop: Annotated[
        int,
        typer.Option("--crop", metavar="N", min=0, rich_help_panel=REPORT, help="Leave out N pixels at every edge."),
    ] = 0,
    json: Annotated[
        bool, typer.Option("--json", rich_help_panel=REPORT, help="One JSON object per image on stdout.")
    ] = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Compare images: PSNR and SSIM of each with the last one, and a page with a before/after slider.

    A smaller image is enlarged by bicubic to the size of the largest.
    """
    from dataclasses import asdict

    from mair_cli.benchmark.comparison import compare_images
    from mair_cli.benchmark.report import figure_text
    from mair_cli.benchmark.report_files import check_report_file, write_report

    console.configure(verbose=verbose, quiet=quiet)
    if len(images) not in (2, 3):
        raise UsageError(f"mair compare takes two or three images, not {len(images)}")
    for path in images:
        if not path.is_file():
            raise UsageError(f"{path}: {'a folder, not an image' if path.is_dir() else 'no such file or folder'}")
    if html is not None:
        check_report_file(html, "html", images)
    result = compare_images(images, crop)
    for remark in result.notes:
        console.note(remark)
    for name, figures in zip(result.names, result.figures, strict=False):
        if json:
            console.record({"image": name, "against": result.names[-1], **asdict(figures)})
        else:
            line = console.printable(f"{name} against {result.names[-1]}: {figure_text(figures)}")
            console.out(line.replace("\n", r"\n"))  # a name may not pass for a result of its own
    if html is not None:
        write_report(html, result.render_html())
        console.note(f"written: {html}")
    return 0
