"""What can be restored: one row a task, and all that differs between tasks without being computed.

A new task is one row here; what computes it is a network and its weights, in the catalog.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
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
        verb: what a button says; "" is the label.
        against: what of, in a few words.
        command: of `mair`; "" is called like the task.
        option: of that command, where it is another task's.
        summary: what the command, or the option, does, in a sentence.
        notes: what else its help says; settings stand in backquotes.
        headline: the channels that papers print.
        inputs: where a benchmark's inputs come from: ground truth reduced, made noisy or compressed; or given.
        settings: what a network may be told or asked for this task, beside what every task takes.
        crops_border: whether measuring leaves out as many pixels at every edge as the scale.
        baseline: the classical method that benchmarks put beside networks.
    """

    name: str
    label: str
    result: str
    _: KW_ONLY
    verb: str = ""
    against: str = ""
    command: str = ""
    option: str = ""
    summary: str = ""
    notes: str = ""
    headline: Channel = "rgb"
    inputs: Inputs = "given"
    settings: frozenset[str] = frozenset()
    crops_border: bool = False
    baseline: str = "none"

    @property
    def typed(self) -> str:
        """What is typed after `mair`."""
        return (self.command or self.name) + (f" --{self.option}" if self.option else "")

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
            verb="Enlarge",
            against="More pixels, and sharper ones",
            command="upscale",
            summary="Enlarge photographs 2, 3 or 4 times, or to any size.",
            headline="y",
            inputs="reduced",
            settings=frozenset({"scale", "size", "sigma", "jpeg"}),
            crops_border=True,
            baseline="bicubic",
        ),
        Task(
            "denoise",
            "Gaussian denoising",
            "denoised",
            verb="Remove noise",
            against="Grain, high ISO",
            summary="Remove noise: of a known level, of a level estimated from the image, or a camera's.",
            notes="Without `sigma` the level is estimated from each image, and told. "
            "`mair denoise photo.png --sigma 25` writes photo_mair_s25.png.",
            inputs="noisy",
            settings=frozenset({"sigma", "jpeg"}),
        ),
        Task(
            "dejpeg",
            "JPEG artefacts",
            "dejpeg",
            verb="Remove JPEG artefacts",
            against="Blocks and fringes",
            summary="Take the artefacts of JPEG compression away.",
            notes="A PNG that was a JPEG once needs `jpeg` N.",
            inputs="compressed",
            settings=frozenset({"jpeg"}),
        ),
        Task(
            "real-denoise",
            "real camera noise",
            "denoised",
            verb="Camera noise",
            against="Noise of phones and cameras",
            command="denoise",
            option="real",
            summary="Remove a camera's noise instead.",
        ),
        Task(
            "deblur",
            "motion deblurring",
            "deblurred",
            verb="Deblur",
            against="Shake and movement",
            summary="Undo motion blur.",
        ),
        Task(
            "dehaze",
            "dehazing",
            "dehazed",
            verb="Dehaze",
            against="Mist and smog",
            summary="Take haze out of photographs.",
            settings=frozenset({"scene"}),
        ),
    )
}


def find_task(name: str) -> Task:
    """The task of that name; raises UsageError naming all where there is none."""
    if name not in TASKS:
        raise UsageError(f"`task` = {name!r}: there are {', '.join(TASKS)}.")
    return TASKS[name]
