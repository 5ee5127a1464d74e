"""What all restoring commands do: parse, plan, restore image by image, report."""

from __future__ import annotations

import platform
import sys
from collections.abc import Collection, Generator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from mair_cli.cli import console, interrupts
from mair_cli.cli.option_sets import RestoreOptions
from mair_cli.cli.restore_cluster import check_cluster_options, cluster_run, weights_here
from mair_cli.cli.restore_report import Report, record
from mair_cli.cli.values import check_exclusive, go_offline
from mair_cli.errors import ImageError, UsageError
from mair_cli.restore.settings import RunSettings, check_alpha

if TYPE_CHECKING:
    from mair_cli.jobs.batch import Outcome, Treatment
    from mair_cli.jobs.cluster_worker import Engine
    from mair_cli.jobs.manifest import Manifest
    from mair_cli.jobs.naming import Found, Source
    from mair_cli.jobs.plan import Job
    from mair_cli.restore.any_size import SizedRestorer
    from mair_cli.restore.restorer import Restorer
    from mair_cli.store.remote import Place

STREAM = "-"


def restore(options: RestoreOptions, settings: Mapping[str, object]) -> int:
    """Carry out a restoring command; returns its exit code.

    Args:
        options: where from, where to, how told.
        settings: by their names in `RunSettings`, the task among them.

    Raises:
        MairError: nothing could be done; problems of single images are reported instead.
    """
    console.configure(verbose=options.verbose, quiet=options.quiet)
    run = RunSettings.of(settings)
    _check(options, run)
    go_offline(options.offline)
    with weights_here(run) as here:
        return _restore(options, here)


def _restore(options: RestoreOptions, run: RunSettings) -> int:
    from mair_cli.jobs.plan import check_writable_places
    from mair_cli.jobs.spool import Filtered
    from mair_cli.restore.any_size import load_restorer

    found = _collect(options, run.asked_task.name)
    _tell_left_out(found)
    report = Report(
        run.asked_task,
        as_json=options.json,
        stdout_taken=options.output == STREAM,
        allow_truncated=options.allow_truncated,
    )
    restorer = None
    if run.weights is not None:
        restorer = load_restorer(run)  # only the file knows its scale, and the scale is part of the names
    scale = run.named_scale if restorer is None or restorer.scale is None else restorer.scale
    jobs = _plan(options, run, found.sources, scale)
    refused = ((job.source.name, job.problem) for job in jobs if job.problem is not None)
    for name, reason in chain(found.problems, refused):
        report.failed(name, f"{name}: {reason}")
    jobs = Filtered(jobs, lambda job: job.problem is None)
    restorer = load_restorer(_on_this_machine(options, run)) if restorer is None else restorer
    console.note(restorer.description)
    _warn_of_other_level(restorer)
    if options.dry_run:
        for job in jobs:
            _tell_plan(job, restorer, report)
        return report.exit_code
    for job in jobs:
        if job.skip:
            report.skipped(job)
    todo = Filtered(jobs, lambda job: not job.skip)
    check_writable_places(todo)
    with _manifest(options, jobs) as manifest:
        if manifest is not None:
            for line in manifest.untold((job for job in jobs if job.skip), report.task.name):
                manifest.add(line)
        if options.cluster is None:
            _tell(_outcomes(todo, restorer, options, report), len(todo), report, manifest)
        elif todo:
            _tell(_outcomes_on_cluster(todo, run, options, report), len(todo), report, manifest)
    report.summary()
    return report.exit_code


def _collect(options: RestoreOptions, task: str) -> Found:
    """The images that are meant; results of earlier runs of this task are none of them."""
    from mair_cli.jobs.naming import collect
    from mair_cli.jobs.plan import earlier_results, is_image_name, results_folder

    output = results_folder(options.output)
    found = collect(options.inputs, recursive=options.recursive, is_image=is_image_name, leave_out=output)
    renamed = earlier_results(found.sources, task)
    if not renamed:
        return found
    return replace(
        found,
        sources=tuple(source for source in found.sources if source not in renamed),
        results=(*found.results, *(source.path for source in renamed if source.path is not None)),
    )


def _tell_left_out(found: Found) -> None:
    """Say what of the folders is not restored, and why: a line for each reason."""
    from mair_cli.jobs.naming import listed
    from mair_cli.jobs.plan import not_yet_readable

    pictures: dict[str, list[Place]] = {}
    for path in found.ignored:
        if (reason := not_yet_readable(path)) is not None:
            pictures.setdefault(reason, []).append(path)
    others = [path for path in found.ignored if not not_yet_readable(path)]
    for reason, paths in pictures.items():
        console.warn(f"{reason}; left out: {listed(paths)}")
    if others:
        console.note(f"not looked at, being no images by their names: {listed(others, found.more_ignored)}")
    if found.results:
        console.note(f"left out, being results of earlier runs: {listed(found.results, found.more_results)}")
    if found.folders:
        console.note(f"subfolders not entered (`recursive` does): {listed(found.folders)}")


def _check(options: RestoreOptions, run: RunSettings) -> None:
    """Refuse what does not go together before anything slow is imported."""
    check_exclusive(overwrite=options.overwrite, skip_existing=options.skip_existing)
    check_alpha(options.alpha)
    check_cluster_options(options)
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
        if options.overwrite or options.skip_existing:
            raise UsageError("--overwrite and --skip-existing are about files that exist: -o - writes none.")
        if sys.stdout.isatty() and not options.dry_run:
            raise UsageError("-o - would write the image to the terminal: redirect it, or name a file.")


def _plan(options: RestoreOptions, run: RunSettings, sources: Collection[Source], scale: int) -> Collection[Job]:
    from mair_cli.jobs.plan import Request, plan
    from mair_cli.store.remote import parse_place

    return plan(
        sources,
        Request(
            suffix=run.result_suffix(scale),
            output=options.output,
            format=options.format,
            quality=options.quality,
            compare=options.compare,
            ground_truth=None if options.gt is None else parse_place(options.gt),
            overwrite=options.overwrite,
            skip_existing=options.skip_existing,
            protected=() if run.weights is None else (Path(run.weights),),
        ),
    )


def _tell_plan(job: Job, restorer: Restorer | SizedRestorer, report: Report) -> None:
    """What a run would do with one image, as far as its header tells."""
    from mair_cli.images.io import probe

    quality, network = None, restorer
    if job.source.path is not None and not job.skip:
        try:
            header = probe(job.source.path)
            quality, network = header.jpeg_quality, restorer.networks_for(header.width, header.height)[0]
        except ImageError as error:
            named = job.source.name in str(error)
            report.failed(job.source.name, str(error) if named else f"{job.source.name}: {error}")
            return
    report.planned(job, network.levels(None, file_quality=quality))


def _warn_of_other_level(restorer: Restorer | SizedRestorer) -> None:
    """Say when a denoiser for one noise level is used for another: it cannot be told."""
    from mair_cli.weights.catalog import MODELS

    entry, sigma = MODELS.get(restorer.model_name), restorer.settings.sigma
    if sigma is not None and entry is not None and entry.sigma not in (None, sigma):
        console.warn(f"{entry.name} is made for --sigma {entry.sigma:g} only, and restores as if that had been given.")


def _on_this_machine(options: RestoreOptions, run: RunSettings) -> RunSettings:
    """How this process loads the network: where a cluster restores, only to see that it can be loaded."""
    return run if options.cluster is None else run.with_(device="cpu", backend="auto", precision="fp32", threads=None)


def _manifest(options: RestoreOptions, jobs: Collection[Job]) -> AbstractContextManager[Manifest | None]:
    if not jobs or (options.manifest is None and options.cluster is None):
        return nullcontext()
    from mair_cli.jobs.manifest import default_manifest, open_manifest
    from mair_cli.store.remote import parse_place

    if options.manifest is not None:
        return open_manifest(parse_place(options.manifest))
    return open_manifest(default_manifest(None if options.output is None else parse_place(options.output), jobs))


def _treatment(options: RestoreOptions, report: Report) -> Treatment:
    from mair_cli.jobs.batch import Treatment

    return Treatment(
        task=report.task.name,
        alpha=check_alpha(options.alpha),
        quality=options.quality,
        max_pixels=options.max_pixels,
    )


def _outcomes(
    jobs: Collection[Job], restorer: Restorer | SizedRestorer, options: RestoreOptions, report: Report
) -> Generator[tuple[Outcome, Restorer | SizedRestorer, str]]:
    """What becomes of each job on this machine, by what, and the machine's name."""
    from mair_cli.jobs.batch import Streams, restore_job

    treatment = _treatment(options, report)
    streams = Streams(sys.stdin.buffer, console.out_bytes)
    for job in jobs:
        with console.progress(Path(job.source.name).name, unit="tile") as tiles:

            def advance(done: int, total: int, bar: console.Progress = tiles) -> None:
                interrupts.check()
                bar.reach(done, total)

            outcome = restore_job(job, restorer, treatment, streams, advance)
        yield outcome, restorer, platform.node()


def _outcomes_on_cluster(
    jobs: Collection[Job], run: RunSettings, options: RestoreOptions, report: Report
) -> Generator[tuple[Outcome, Engine, str]]:
    """The same on a cluster."""
    from mair_cli.jobs.cluster import connected

    with connected(options.cluster or "local"):
        for done in cluster_run(options, run, _treatment(options, report)).outcomes(jobs):
            yield done.outcome, done.engine, done.node


def _tell(
    outcomes: Generator[tuple[Outcome, Restorer | SizedRestorer | Engine, str]],
    count: int,
    report: Report,
    manifest: Manifest | None,
) -> None:
    """Report and write down each outcome as it comes; a cluster is left even where this is interrupted."""
    finished = 0
    try:
        with (
            closing(outcomes),
            console.progress("images", count, "image") if count > 1 else nullcontext() as images,
        ):
            for outcome, engine, node in outcomes:
                interrupts.check()
                report.done(outcome, engine)
                if manifest is not None:
                    manifest.add({**record(outcome, engine, report.task), "node": node})
                finished += 1
                if images is not None:
                    images.advance()
    except KeyboardInterrupt:
        console.note(f"{finished} of {count} images were finished.")
        raise
