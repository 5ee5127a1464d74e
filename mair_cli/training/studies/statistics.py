"""What runs of one variant with several seeds say together: means, standard deviations, differences from the first.

Runs of one seed start from the same values and see the same patches (`starting.draw_start_values`,
`patches.PatchSource`), so variants are compared seed by seed: what a seed changes for both falls out of the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev

from mair_cli.training.studies.ablation import Result, write_csv

__all__ = ["Statistics", "statistics_of", "write_statistics"]


@dataclass(frozen=True)
class Statistics:
    """One variant over its seeds; standard deviations are those of samples, None for a single one.

    Attributes:
        variant: its name without the seed.
        seeds: with which it was run.
        psnr: mean over seeds, dB.
        psnr_deviation: standard deviation over seeds.
        ssim: mean over seeds.
        ssim_deviation: standard deviation over seeds.
        difference: mean over the seeds that both have of this variant's PSNR minus the first variant's; None for the
            first itself, or where they share no seed.
        difference_deviation: standard deviation of these differences.
        images_ahead: share of the measured images (of each degradation) on which this variant is ahead of the first,
            both being means over the seeds that they share.
    """

    variant: str
    seeds: tuple[int, ...]
    psnr: float
    psnr_deviation: float | None
    ssim: float
    ssim_deviation: float | None
    difference: float | None
    difference_deviation: float | None
    images_ahead: float | None


def statistics_of(results: Sequence[Result]) -> list[Statistics]:
    """Group runs by variant, in the order of their first appearance, and compare each group with the first."""
    groups: dict[str, dict[int, Result]] = {}
    for result in results:
        groups.setdefault(result.group, {})[result.seed] = result
    first = next(iter(groups.values()), {})
    return [_statistics(name, runs, first) for name, runs in groups.items()]


def write_statistics(folder: Path, found: Sequence[Statistics]) -> Path:
    """Write `ablation_statistics.csv`, a line per variant; returns its path."""
    path = folder / "ablation_statistics.csv"
    write_csv(path, [asdict(item) | {"seeds": " ".join(map(str, item.seeds))} for item in found])
    return path


def _statistics(name: str, runs: dict[int, Result], first: dict[int, Result]) -> Statistics:
    psnr, ssim = [run.psnr for run in runs.values()], [run.ssim for run in runs.values()]
    shared = [] if runs is first else [seed for seed in runs if seed in first]
    differences = [runs[seed].psnr - first[seed].psnr for seed in shared]
    return Statistics(
        variant=name,
        seeds=tuple(runs),
        psnr=fmean(psnr),
        psnr_deviation=_deviation(psnr),
        ssim=fmean(ssim),
        ssim_deviation=_deviation(ssim),
        difference=fmean(differences) if differences else None,
        difference_deviation=_deviation(differences),
        images_ahead=_images_ahead([runs[seed] for seed in shared], [first[seed] for seed in shared]),
    )


def _deviation(values: Sequence[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None


def _images_ahead(runs: Sequence[Result], others: Sequence[Result]) -> float | None:
    """Over images that all of the runs measured."""
    if not runs:
        return None
    images = set.intersection(*(set(run.images) for run in (*runs, *others)))
    ahead = [fmean(run.images[image] for run in runs) > fmean(run.images[image] for run in others) for image in images]
    return fmean(ahead) if ahead else None
