"""What all restoring commands do: parse, plan, restore image by image, report."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from mair_cli.cli import console, interrupts
from mair_cli.cli.options import RestoreOptions, check_choice, check_exclusive, go_offline, parse_tile
from mair_cli.cli.restore_report import Report
from mair_cli.errors import UsageError

if TYPE_CHECKING:
    from mair_cli.jobs.batch import AlphaChoice
    from mair_cli.jobs.naming import Source
    from mair_cli.jobs.plan import Job
    from mair_cli.restore.restorer import Restorer

STREAM = "-"


@dataclass(frozen=True)
class Task:
    """What is to be restored.

    Attributes:
        name: "sr", "denoise", "real-denoise", "deblur" or "dehaze".
        scale: enlargement asked for; None leaves it to the model, and to 4.
        sigma: noise level of 255, or "auto"; for "denoise".
        scene: "indoor", "outdoor" or "mixed"; for "dehaze".
    """

    name: str
    scale: int | None = None
    sigma: float | Literal["auto"] | None = None
    scene: str | None = None

    @property
    def known_sigma(self) -> float | None:
        """The noise level, where it does not have to be estimated."""
        return self.sigma if isinstance(self.sigma, float) else None


def restore(options: RestoreOptions, task: Task) -> int:
    """Carry out a restoring command; returns its exit code.

    Raises:
        MairError: nothing could be done; problems of single images are reported instead.
    """
    console.configure(verbose=options.verbose, quiet=options.quiet)
    _check(options)
    go_offline(options.offline)
    from mair_cli.jobs.naming import collect, listed
    from mair_cli.jobs.plan import is_image_name, results_folder

    found = collect(
        options.inputs,
        recursive=options.recursive,
        is_image=is_image_name,
        leave_out=results_folder(options.output),
    )
    if found.ignored:
        console.note(f"not looked at, being no images by their names: {listed(found.ignored)}")
    report = Report(task.name, as_json=options.json, stdout_taken=options.output == STREAM)
    restorer = None
    if options.weights is not None:
        restorer = _load(options, task)  # only the file knows its scale, and the scale is part of the names
    jobs = _plan(options, task, found.sources, _scale(options, task) if restorer is None else restorer.scale)
    for name, reason in found.problems:
        report.failed(name, f"{name}: {reason}")
    restorer = _load(options, task) if restorer is None else restorer
    console.note(restorer.description)
    _warn_of_other_level(restorer, task)
    if options.dry_run:
        for job in jobs:
            report.planned(job)
        return report.exit_code
    for job in jobs:
        if job.skip:
            report.skipped(job)
    _run([job for job in jobs if not job.skip], restorer, options, task, report)
    report.summary()
    return report.exit_code


def _check(options: RestoreOptions) -> None:
    """Refuse what does not go together before anything slow is imported."""
    check_exclusive(overwrite=options.overwrite, skip_existing=options.skip_existing)
    check_exclusive(verbose=options.verbose > 0, quiet=options.quiet)
    check_exclusive(model=options.model != "auto", weights=options.weights is not None)
    check_choice("--alpha", options.alpha, ("model", "resize", "drop"))
    check_choice("--precision", options.precision, ("fp32", "bf16", "fp16"))
    parse_tile(options.tile)
    if options.weights is not None and not options.weights.is_file():
        raise UsageError(f"--weights {options.weights}: no such file.")
    if options.stripe is not None and options.weights is None:
        raise UsageError("--stripe belongs to --weights: models of the catalog know theirs.")
    if STREAM in options.inputs:
        if sys.stdin.isatty():
            raise UsageError("- reads an image from standard input, but that is the terminal: pipe a file into it.")
        if options.output is None:
            raise UsageError("- (standard input) needs --output FILE, or -o - for standard output.")
    if options.output == "":
        raise UsageError("--output is empty: name a file or a folder.")
    if options.output == STREAM:
        if options.json:
            raise UsageError("--json and -o - both want standard output: write the image to a file.")
        if sys.stdout.isatty() and not options.dry_run:
            raise UsageError("-o - would write the image to the terminal: redirect it, or name a file.")


def _scale(options: RestoreOptions, task: Task) -> int:
    """Enlargement of the model that will be used, from the catalog alone."""
    from mair_cli.weights import catalog

    if task.name != "sr":
        return 1
    if options.model == "auto":
        return 4 if task.scale is None else task.scale
    entry = catalog.find(options.model)
    if task.scale not in (None, entry.scale):
        raise UsageError(f"--scale {task.scale} and --model {entry.name} (×{entry.scale}) contradict each other.")
    return entry.scale


def _plan(options: RestoreOptions, task: Task, sources: Sequence[Source], scale: int) -> list[Job]:
    from mair_cli.jobs.naming import name_suffix
    from mair_cli.jobs.plan import Request, plan

    return plan(
        sources,
        Request(
            suffix=name_suffix(task.name, scale=scale, sigma=task.known_sigma),
            output=options.output,
            format=options.format,
            compare=options.compare,
            ground_truth=options.gt,
            overwrite=options.overwrite,
            skip_existing=options.skip_existing,
            protected=() if options.weights is None else (Path(options.weights),),
        ),
    )


def _load(options: RestoreOptions, task: Task) -> Restorer:
    from mair_cli.restore.restorer import Restorer

    return Restorer(
        task.name,
        scale=task.scale,
        sigma=task.sigma,
        scene=task.scene,
        model=options.model,
        weights=options.weights,
        stripe=options.stripe,
        device=options.device,
        backend=options.backend,
        precision=options.precision,
        tile=parse_tile(options.tile),
        overlap=options.overlap,
        ensemble=options.ensemble,
    )


def _warn_of_other_level(restorer: Restorer, task: Task) -> None:
    """Say when a denoiser for one noise level is used for another: it cannot be told."""
    from mair_cli.weights.catalog import MODELS

    entry = MODELS.get(restorer.model_name)
    if task.sigma is not None and entry is not None and entry.sigma not in (None, task.sigma):
        console.warn(f"{entry.name} is made for --sigma {entry.sigma:g} only, and restores as if that had been given.")


def _run(jobs: Sequence[Job], restorer: Restorer, options: RestoreOptions, task: Task, report: Report) -> None:
    from mair_cli.jobs.batch import Streams, Treatment, restore_job

    treatment = Treatment(
        task=task.name,
        alpha=cast("AlphaChoice", options.alpha),
        quality=options.quality,
        max_pixels=options.max_pixels,
    )
    streams = Streams(console.in_bytes, console.out_bytes)
    finished = 0
    try:
        with console.progress("images", len(jobs), "image") if len(jobs) > 1 else nullcontext() as images:
            for job in jobs:
                with console.progress(Path(job.source.name).name, unit="tile") as tiles:

                    def advance(done: int, total: int, bar: console.Progress = tiles) -> None:
                        interrupts.check()
                        bar.reach(done, total)

                    outcome = restore_job(job, restorer, treatment, streams, advance)
                interrupts.check()
                report.done(outcome, restorer)
                finished += 1
                if images is not None:
                    images.advance()
    except KeyboardInterrupt:
        console.note(f"{finished} of {len(jobs)} images were finished.")
        raise
