"""What a restoring command says about each image: lines for people, or JSON objects for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from mair_cli.cli import console

if TYPE_CHECKING:
    from mair_cli.jobs.batch import Outcome
    from mair_cli.jobs.cluster_worker import Engine
    from mair_cli.jobs.plan import Job
    from mair_cli.measure.protocol import Measurement
    from mair_cli.restore.any_size import SizedRestorer
    from mair_cli.restore.restorer import Restorer
    from mair_cli.restore.settings import Levels
    from mair_cli.tasks import Task


@dataclass
class Report:
    """Counts and tells outcomes.

    Attributes:
        task: decides which figures stand first.
        as_json: one JSON object per image on stdout, and nothing else there.
        stdout_taken: an image goes to stdout, so that figures must not.
    """

    task: Task
    as_json: bool = False
    stdout_taken: bool = False
    allow_truncated: bool = False
    truncated: int = 0
    restored: int = 0
    failures: int = 0
    left_out: int = 0
    seconds: float = 0.0
    measurements: list[Measurement] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """1 if an input failed, or was restored in part only and that was not allowed; else 0."""
        return 1 if self.failures or (self.truncated and not self.allow_truncated) else 0

    def failed(self, name: str, error: str) -> None:
        """Tell of an input that could not be restored."""
        self.failures += 1
        console.error(error)
        if self.as_json:
            console.record({"input": name, "status": "failed", "error": console.worded(error)})

    def planned(self, job: Job, levels: Levels) -> None:
        """Tell of a job that a dry run does not do, and what the network would be told."""
        if self.as_json:
            status = "skipped" if job.skip else "planned"
            console.record({**_names(job), "status": status, **({} if job.skip else told(levels))})
            return
        remark = "exists, left out" if job.skip else str(levels)
        console.out(console.printable(f"{job.source.name} → {_target(job)}{f' ({remark})' if remark else ''}"))

    def skipped(self, job: Job) -> None:
        """Tell of a job left out because its result exists."""
        self._left_out(job, f"{_target(job)} exists, left out")

    def _left_out(self, job: Job, why: str) -> None:
        self.left_out += 1
        console.note(why)
        if self.as_json:
            console.record({**_names(job), "status": "skipped"})

    def done(self, outcome: Outcome, restorer: Restorer | SizedRestorer | Engine) -> None:
        """Tell of a job that was tried."""
        job = outcome.job
        if outcome.is_result:
            self._left_out(job, f"{job.source.name} is the result of an earlier run, left out")
            return
        if outcome.error is not None:
            self.failures += 1
            console.error(outcome.error)
        else:
            self.restored += 1
            self.truncated += outcome.truncated
            self.seconds += outcome.seconds
            if outcome.measurement is not None:
                self.measurements.append(outcome.measurement)
        if self.as_json:
            console.record(record(outcome, restorer, self.task))
        elif outcome.error is None:
            console.note(_sentence(outcome, restorer.model_name))
            if outcome.measurement is not None:
                self._figures(f"{job.source.name}: {_figures(outcome.measurement, self.task)}")

    def summary(self) -> None:
        """Tell the sums of a run of several images, and the mean figures."""
        if len(self.measurements) > 1:
            from mair_cli.measure.protocol import mean_of

            self._figures(f"mean of {len(self.measurements)}: {_figures(mean_of(self.measurements), self.task)}")
        if self.restored + self.failures + self.left_out > 1:
            parts = [f"{self.restored} restored in {self.seconds:.1f} s"]
            parts += [f"{self.failures} failed"] if self.failures else []
            parts += [f"{self.left_out} left out"] if self.left_out else []
            console.note(", ".join(parts))

    def _figures(self, line: str) -> None:
        """Figures were asked for, so they are data; where stdout serves another purpose they go to stderr."""
        if self.as_json or self.stdout_taken:
            console.note(line)
        else:
            console.out(console.printable(line))


def _target(job: Job) -> str:
    return "standard output" if job.destination is None else str(job.destination)


def _names(job: Job) -> dict[str, object]:
    names: dict[str, object] = {
        "input": "-" if job.source.path is None else str(job.source.path),
        "output": "-" if job.destination is None else str(job.destination),
    }
    if job.comparison is not None:
        names["compare"] = str(job.comparison)
    if job.ground_truth is not None:
        names["gt"] = str(job.ground_truth)
    return names


def told(levels: Levels) -> dict[str, object]:
    """What the network was told, and where it came from, for JSON."""
    values: dict[str, object] = {}
    if levels.sigma is not None or levels.sigma_origin == "estimated":  # before the image is read: None
        sigma = None if levels.sigma is None else round(levels.sigma, 2)
        values |= {"sigma": sigma, "sigma_origin": levels.sigma_origin}
    if levels.jpeg is not None:
        values |= {"jpeg": levels.jpeg, "jpeg_origin": levels.jpeg_origin}
    return values


def record(outcome: Outcome, restorer: Restorer | SizedRestorer | Engine, task: Task) -> dict[str, object]:
    """All about a job that was tried, for JSON."""
    found = {**_names(outcome.job), "status": "done" if outcome.error is None else "failed"}
    for key, size in (("input", outcome.input_size), ("output", outcome.output_size)):
        found |= {f"{key}_width": size and size[0], f"{key}_height": size and size[1]}
    found |= {
        "frames": outcome.frames,
        "seconds": round(outcome.seconds, 3),
        "model": outcome.model or restorer.model_name,
        "backend": restorer.backend,
        "device": str(restorer.device),
        "precision": restorer.precision,
    }
    found |= told(outcome.levels)
    if len(outcome.sigmas) > 1:
        found["sigmas"] = [round(sigma, 2) for sigma in outcome.sigmas]
    if outcome.truncated:
        found["truncated"] = True
    if outcome.measurement is not None:
        channels = task.headline
        figures = asdict(outcome.measurement)
        found |= {"psnr": figures[f"psnr_{channels}"], "ssim": figures[f"ssim_{channels}"], **figures}
    if outcome.error is not None:
        found["error"] = console.worded(outcome.error)
    return found


def _sentence(outcome: Outcome, usual_model: str) -> str:
    """One line; it names the network where that is not the one which was named when the run began."""
    sizes = " → ".join(f"{size[0]}×{size[1]}" for size in (outcome.input_size, outcome.output_size) if size is not None)
    details = [sizes]
    details += [f"{outcome.frames} frames"] if outcome.frames > 1 else []
    details += [outcome.model] if outcome.model not in (None, usual_model) else []
    details += [str(outcome.levels)] if str(outcome.levels) else []
    if len(outcome.sigmas) > 1:
        details.append(f"frames: σ {min(outcome.sigmas):.3g} to {max(outcome.sigmas):.3g}")
    details.append(f"{outcome.seconds:.1f} s")
    return f"{outcome.job.source.name} → {_target(outcome.job)} ({', '.join(details)})"


def _figures(measurement: Measurement, task: Task) -> str:
    figures = asdict(measurement)
    order = ("y", "rgb") if task.headline == "y" else ("rgb", "y")
    return "; ".join(f"{c.upper()} {figures[f'psnr_{c}']:.2f} dB, SSIM {figures[f'ssim_{c}']:.4f}" for c in order)
