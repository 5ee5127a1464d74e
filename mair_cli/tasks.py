"""What can be restored: one row a task, and all that differs between tasks without being computed.

A new task is one row here; what computes it is a network and its weights, in the catalog.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mair_cli.errors import UsageError

__all__ = ["SCENES", "TASKS", "Channel", "Inputs", "Task", "find_task"]

Channel = Literal["y", "rgb"]
Inputs = Literal["reduced", "noisy", "compressed", "given"]

SCENES = ("indoor", "outdoor", "mixed")


@dataclass(frozen=True)
class Task:
    """One kind of restoration.

    Attributes:
        name: what Python and `--task` call it.
        label: for people.
        result: what is added to a result's name after `_mair_`; may name `{scale}`.
        headline: the channels that papers print.
        inputs: where a benchmark's inputs come from: ground truth reduced, made noisy or compressed; or given.
        settings: what a network may be told or asked for this task, beside what every task takes.
        crops_border: whether measuring leaves out as many pixels at every edge as the scale.
        baseline: the classical method that benchmarks put beside networks.
    """

    name: str
    label: str
    result: str
    headline: Channel = "rgb"
    inputs: Inputs = "given"
    settings: frozenset[str] = frozenset()
    crops_border: bool = False
    baseline: str = "none"

    @property
    def enlarges(self) -> bool:
        """Whether results are larger than inputs."""
        return "scale" in self.settings

    @property
    def measured_whole(self) -> bool:
        """Whether papers run whole images, without partition, and print an SSIM whose window runs over channels too."""
        return self.inputs == "given"

    def result_suffix(self, *, scale: int = 1, size: str | None = None, sigma: float | None = None) -> str:
        """What is added to a file's name: `_mair_x4`, `_mair_s25` for a known noise level, `_mair_deblurred` …

        `size` is a target size as `TargetSize` writes it: `_mair_x1.5`, `_mair_1920x1080`.
        """
        if size is not None:
            return f"_mair_{size}"
        if self.inputs == "noisy" and sigma is not None:
            return f"_mair_s{sigma:g}"
        return f"_mair_{self.result.format(scale=scale)}"

    def title(self, *, scale: int = 1, sigma: float | None = None, quality: int | None = None) -> str:
        """Task and degree, such as "super-resolution ×4", "Gaussian denoising σ 25" or "JPEG artefacts, quality 40"."""
        parts = [f"{self.label} ×{scale}" if self.enlarges else self.label]
        parts[0] += f" σ {sigma:g}" if sigma is not None else ""
        parts += [f"quality {quality}" if self.inputs == "compressed" else f"JPEG {quality}"] if quality else []
        return ", ".join(parts)


TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        Task(
            "sr",
            "super-resolution",
            "x{scale}",
            headline="y",
            inputs="reduced",
            settings=frozenset({"scale", "size", "sigma", "jpeg"}),
            crops_border=True,
            baseline="bicubic",
        ),
        Task("denoise", "Gaussian denoising", "denoised", inputs="noisy", settings=frozenset({"sigma", "jpeg"})),
        Task("dejpeg", "JPEG artefacts", "dejpeg", inputs="compressed", settings=frozenset({"jpeg"})),
        Task("real-denoise", "real camera noise", "denoised"),
        Task("deblur", "motion deblurring", "deblurred"),
        Task("dehaze", "dehazing", "dehazed", settings=frozenset({"scene"})),
    )
}


def find_task(name: str) -> Task:
    """The task of that name; raises UsageError naming all where there is none."""
    if name not in TASKS:
        raise UsageError(f"`task` = {name!r}: there are {', '.join(TASKS)}.")
    return TASKS[name]
