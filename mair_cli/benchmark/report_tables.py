"""The tables of a benchmark, cell by cell: for the terminal, and as Markdown and LaTeX for papers and pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from mair_cli.benchmark.report import BenchmarkReport, decibels, on_channels, similarity
from mair_cli.benchmark.runs import Summary
from mair_cli.benchmark.state import Row
from mair_cli.measure.tables import latex_table, markdown_table
from mair_cli.tasks import Channel
from mair_cli.version import __version__

__all__ = [
    "Table",
    "costs_table",
    "image_table",
    "means_table",
    "published_table",
    "render_latex",
    "render_markdown",
    "summary_table",
    "tables_as_latex",
    "tables_as_markdown",
]

_MISSING = "–"


class Table(NamedTuple):
    """A title, headings and rows of texts."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def image_table(report: BenchmarkReport) -> Table:
    """A row per image: PSNR and SSIM of each method, on the channels that papers print."""
    channel = report.outcome.protocol.headline
    names = [summary.method.name for summary in report.summaries]
    rows = [
        [image, *(cell for name in names for cell in _figure_cells(by_method[name], channel))]
        for image, by_method in report.by_image().items()
    ]
    columns = ["image", *(f"{name}\n{figure}" for name in names for figure in ("PSNR", "SSIM"))]
    return Table(f"{report.title}: each image, on {channel.upper()}", columns, rows)


def _figure_cells(row: Row, channels: Channel) -> list[str]:
    if row.measurement is None:
        return ["failed", ""]
    psnr, ssim = on_channels(row.measurement, channels)
    return [decibels(psnr), similarity(ssim)]


def summary_table(report: BenchmarkReport) -> Table:
    """A row per method: means and costs. Columns that no method fills, such as SSIM 3-D or parameters, are left out."""
    return _per_method(report, "means", [*_figures(report), *_COSTS])


def means_table(report: BenchmarkReport) -> Table:
    """The means alone: both together are too wide for a terminal."""
    return _per_method(report, "means", _figures(report))


def costs_table(report: BenchmarkReport) -> Table:
    """The costs alone."""
    return _per_method(report, "costs", _COSTS)


_Column = tuple[str, Callable[[Summary], str]]


def _figures(report: BenchmarkReport) -> list[_Column]:
    return [
        ("PSNR\nY", lambda summary: _mean(summary, decibels, "psnr_y")),
        ("SSIM\nY", lambda summary: _mean(summary, similarity, "ssim_y")),
        ("PSNR\nRGB", lambda summary: _mean(summary, decibels, "psnr_rgb")),
        ("SSIM\nRGB", lambda summary: _mean(summary, similarity, "ssim_rgb")),
        ("SSIM\n3-D", lambda summary: _mean(summary, similarity, "ssim_3d")),
        *((name, partial(_perceptual, name)) for name in _perceptual_names(report)),
    ]


_COSTS: list[_Column] = [
    ("s per\nimage", lambda summary: f"{summary.seconds:.3g}" if summary.mean else _MISSING),
    ("MP/s", lambda summary: _scaled(summary.megapixels_per_second, 1, ".3g")),
    ("MiB", lambda summary: _scaled(summary.peak_memory, 2**20, ".0f")),
    ("1000 par-\nameters", lambda summary: _scaled(summary.method.parameters, 1000, ".0f")),
    ("10⁹ mul-\ntiply-adds", lambda summary: _scaled(summary.method.multiply_adds, 1e9, ".1f")),
]


def _per_method(report: BenchmarkReport, what: str, columns: Sequence[_Column]) -> Table:
    cells = {name: [figure(summary) for summary in report.summaries] for name, figure in columns}
    shown = [name for name, _ in columns if any(cell != _MISSING for cell in cells[name])]
    rows = [
        [summary.method.name, _covered(summary), *(cells[name][place] for name in shown)]
        for place, summary in enumerate(report.summaries)
    ]
    return Table(f"{report.title}: {what}", ["method", "images", *shown], rows)


def _perceptual_names(report: BenchmarkReport) -> list[str]:
    return list({name: None for summary in report.summaries if summary.mean for name in summary.mean.perceptual})


def _perceptual(name: str, summary: Summary) -> str:
    value = summary.mean.perceptual.get(name) if summary.mean else None
    return _MISSING if value is None else f"{value:.4f}"


def _covered(summary: Summary) -> str:
    return f"{summary.images}" + (f" of {summary.images + summary.failed}" if summary.failed else "")


def _mean(summary: Summary, form: Callable[[float], str], name: str) -> str:
    value = None if summary.mean is None else getattr(summary.mean, name)
    return _MISSING if value is None else form(value)


def _scaled(value: float | None, unit: float, form: str) -> str:
    return _MISSING if value is None else format(value / unit, form)


def published_table(report: BenchmarkReport) -> Table | None:
    """Published figures, and how far measured ones lie from them; an asterisk: measured with the same weights.

    None where nothing may be compared.
    """
    if not report.comparable:
        return None
    measured = [(summary, figures) for summary in report.comparable if (figures := report.headline(summary))]
    rows = []
    for figure in report.published:
        same = any(report.published_row(summary) is figure for summary, _ in measured)
        rows.append(
            [
                figure.method + (" *" if same else ""),
                figure.parameters or _MISSING,
                decibels(figure.psnr),
                _MISSING if figure.ssim is None else similarity(figure.ssim),
                *(f"{figures[0] - figure.psnr:+.2f}" for _, figures in measured),
                "own" if figure.primary else ("notes" if figure.note.startswith("unconfirmed") else "others"),
            ]
        )
    columns = ["published", "parameters", "PSNR", "SSIM", *(f"{summary.method.name}\nis" for summary, _ in measured)]
    channel = report.outcome.protocol.headline.upper()
    return Table(f"{report.title}: beside published figures, on {channel}", [*columns, "source"], rows)


def render_markdown(report: BenchmarkReport) -> str:
    """Means, published figures where they may be compared, and each image, as Markdown."""
    return tables_as_markdown(_tables(report), report.published_notes())


def render_latex(report: BenchmarkReport) -> str:
    """The same tables as LaTeX, to be put into `table` environments."""
    return tables_as_latex(_tables(report), report.published_notes())


def _tables(report: BenchmarkReport) -> list[Table]:
    return [table for table in (summary_table(report), published_table(report), image_table(report)) if table]


def tables_as_markdown(tables: Sequence[Table], notes: Sequence[str] = ()) -> str:
    """Tables with their titles, then notes, in a file that `report_files` knows for one of ours."""
    parts = [f"**{title}**\n\n{markdown_table(columns, rows)}" for title, columns, rows in tables]
    return "\n".join([f"<!-- mair-cli {__version__} -->\n", *parts, *(f"{note}\n" for note in notes)])


def tables_as_latex(tables: Sequence[Table], notes: Sequence[str] = ()) -> str:
    """Tables with titles and notes as comments, in a file that `report_files` knows for one of ours."""
    parts = [f"% {' '.join(title.split())}\n{latex_table(columns, rows)}" for title, columns, rows in tables]
    first = f"% mair-cli {__version__}; needs \\usepackage{{booktabs}}\n"
    return "\n".join([first, *parts, *(f"% {note}\n" for note in notes)])
