"""The results of an ablation as tables: a row per run, and a row per variant over its seeds."""

from __future__ import annotations

from collections.abc import Sequence

from mair_cli.training.studies.ablation import Result
from mair_cli.training.studies.statistics import Statistics

__all__ = ["RUN_COLUMNS", "STATISTICS_COLUMNS", "run_rows", "statistics_rows"]

RUN_COLUMNS = ("variant", "PSNR dB", "SSIM", "loss", "parameters", "10⁹ multiply-adds", "seconds")
STATISTICS_COLUMNS = ("variant", "seeds", "PSNR dB", "SSIM", "difference dB", "images ahead")
_MISSING = "–"


def run_rows(results: Sequence[Result]) -> list[list[str]]:
    """A row of texts per run, in the order of `RUN_COLUMNS`."""
    return [
        [
            result.variant,
            f"{result.psnr:.3f}",
            f"{result.ssim:.4f}",
            f"{result.loss:.5f}",
            str(result.parameters),
            f"{result.multiply_adds:.1f}",
            f"{result.seconds:.0f}",
        ]
        for result in results
    ]


def statistics_rows(found: Sequence[Statistics]) -> list[list[str]]:
    """A row of texts per variant, in the order of `STATISTICS_COLUMNS`; ± is a standard deviation over seeds."""
    return [
        [
            item.variant,
            str(len(item.seeds)),
            _with_deviation(item.psnr, item.psnr_deviation, "{:.3f}"),
            _with_deviation(item.ssim, item.ssim_deviation, "{:.4f}"),
            _MISSING
            if item.difference is None
            else _with_deviation(item.difference, item.difference_deviation, "{:+.3f}"),
            _MISSING if item.images_ahead is None else f"{item.images_ahead:.0%}",
        ]
        for item in found
    ]


def _with_deviation(value: float, deviation: float | None, form: str) -> str:
    return form.format(value) + ("" if deviation is None else f" ± {form.replace('+', '').format(deviation)}")
