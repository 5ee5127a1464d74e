"""How a network is run, in one value that goes whole from the command line to `Restorer`, to benchmarks, to actors of a
cluster, and as data into the key of a run that can be resumed. Free of torch.

A new setting is one field here, and one option in `mair_cli.cli.options`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path, PurePath
from typing import Any, Literal, get_args

from mair_cli.errors import UsageError
from mair_cli.restore.sizes import TargetSize
from mair_cli.runtime.precision_names import CHOICES, check_precision_name
from mair_cli.tasks import SCENES, TASKS, Task, find_task
from mair_cli.weights import catalog

__all__ = [
    "ALPHA_CHOICES",
    "MAX_SIGMA",
    "SMALLEST_TILE",
    "AlphaChoice",
    "Jpeg",
    "LevelOrigin",
    "Levels",
    "RunSettings",
    "Sigma",
    "check_alpha",
    "parse_setting",
]

Sigma = float | Literal["auto"]
Jpeg = int | Literal["auto", "off"]
LevelOrigin = Literal["told", "file", "estimated", "nothing known"]
AlphaChoice = Literal["model", "resize", "drop"]
ALPHA_CHOICES: tuple[AlphaChoice, ...] = get_args(AlphaChoice)
"""What becomes of transparency: restored by the network, enlarged by bicubic, or left out."""

MAX_SIGMA = 75.0
SMALLEST_TILE = 16
"""Tiles are neither taken nor halved below this side: nearly all of a smaller one would be overlap."""


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How a network is chosen and run.

    Attributes:
        task: a name in `mair_cli.tasks.TASKS`; None takes the model's, or "sr" where none is named.
        scale: enlargement, 2, 3 or 4; None takes the model's, or 4.
        size: of the result instead of `scale`: `1920x`, `x1080`, `1920x1080` (fitted into) or `150%`.
        scene: "indoor", "outdoor" or "mixed"; for dehazing. None stands for "mixed".
        model: a name in the catalog; "auto" takes published weights for the task if cached, else bundled ones.
        weights: a checkpoint file, published format or safetensors, instead of `model`.
        config: the file's network settings, where it does not tell them itself.
        stripe: the file's stripe width, where it does not tell it itself.
        sigma: noise level of 255 that the network is told, 0 to 75, or "auto" to estimate it from each image; None
            tells it nothing, which denoisers refuse.
        jpeg: JPEG quality that the network is told, 1 to 100; "auto" is what the picture's own file says, "off" is not
            a JPEG.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        backend: the scan's back end, "auto" or one of `mair_cli.scan.dispatch.BACKENDS`.
        precision: "fp32", "bf16", "fp16", or "auto": bf16 where that is faster and was measured to lose less than
            0.01 dB, with `backend` "auto" only.
        tile: largest tile side in input pixels, 16 or more; 0 for the whole image; "auto" by free memory.
        overlap: input pixels that neighbouring tiles share; None for the default.
        partition: the published partition instead of tiles, for measuring as published.
        ensemble: mean over 8 flips and transposes.
        threads: CPU threads; None leaves the choice to PyTorch.
    """

    task: str | None = None
    scale: int | None = None
    size: str | None = None
    scene: str | None = None
    model: str = "auto"
    weights: str | Path | None = None
    config: Mapping[str, object] | None = None
    stripe: int | None = None
    sigma: Sigma | None = None
    jpeg: Jpeg = "auto"
    device: str = "auto"
    backend: str = "auto"
    precision: str = "fp32"
    tile: int | Literal["auto"] = "auto"
    overlap: int | None = None
    partition: bool = False
    ensemble: bool = False
    threads: int | None = None

    def __post_init__(self) -> None:
        """Check each setting and what does not go together; raises UsageError naming the setting in backquotes."""
        self._check_types()
        if self.task is not None:
            self.check_for(find_task(self.task))
        if self.scene is not None and self.scene not in SCENES:
            raise UsageError(f"`scene` {self.scene}: choose indoor, outdoor or mixed.")
        if self.size is not None:
            TargetSize.parse(self.size)
            if self.scale is not None:
                raise UsageError("`scale` and `size` exclude each other: give only one.")
            if self.partition:
                raise UsageError("The published partition is for measuring at whole scales: leave `size` out.")
        if self.weights is not None and self.model != "auto":
            raise UsageError("`model` and `weights` exclude each other: give only one.")
        if self.weights is not None and self.scene is not None:
            raise UsageError("`scene` chooses a model, and `weights` names one already: leave one out.")
        if self.weights is None and (self.config is not None or self.stripe is not None):
            raise UsageError("`stripe` and `config` belong to `weights`: models of the catalog know theirs.")
        check_precision_name(self.precision, CHOICES)
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"`threads` {self.threads}: give 1 or more.")
        _check_sigma(self.sigma)
        _check_jpeg(self.jpeg)
        self._check_tiles()

    @property
    def asked_task(self) -> Task:
        """What is to be done; super-resolution where no task is named."""
        return find_task(self.task or "sr")

    @property
    def named_scale(self) -> int:
        """Enlargement of the network that names of results tell, from the catalog alone; a file of weights may differ.

        1 for tasks that keep the size, and where `size` is given: how much it is enlarged depends on the picture.

        Raises UsageError for a model that is unknown, or of another scale than `scale`.
        """
        if not self.asked_task.enlarges or self.size is not None:
            return 1
        if self.model == "auto":
            return 4 if self.scale is None else self.scale
        entry = catalog.find(self.model)
        if self.scale not in (None, entry.scale):
            raise UsageError(f"`scale` {self.scale} and `model` {entry.name} (×{entry.scale}) contradict each other.")
        return entry.scale

    def result_suffix(self, scale: int) -> str:
        """What is added to the name of a result by a network that enlarges by `scale`; see `Task.result_suffix`."""
        size = None if self.size is None else str(TargetSize.parse(self.size))
        return self.asked_task.result_suffix(scale=scale, size=size, sigma=None if self.sigma == "auto" else self.sigma)

    def check_for(self, task: Task) -> None:
        """Raises UsageError for a setting that is given although it says nothing to that task."""
        given = {
            "scale": self.scale not in (None, 1),
            "size": self.size is not None,
            "scene": self.scene is not None,
            "sigma": self.sigma is not None,
            "jpeg": self.jpeg not in ("auto", "off"),
        }
        for name, present in given.items():
            if present and name not in task.settings:
                takers = " and ".join(other.label for other in TASKS.values() if name in other.settings)
                raise UsageError(f"`{name}` is for {takers}: {task.label} takes none.")

    def _check_types(self) -> None:
        for name, kind in _KINDS.items():
            value, types = getattr(self, name), kind.types
            if types and (not isinstance(value, types) or (isinstance(value, bool) and bool not in types)):
                raise UsageError(f"`{name}` {value!r}: give {kind.wanted}.")

    def _check_tiles(self) -> None:
        tile, overlap = self.tile, self.overlap
        if tile != "auto" and (not isinstance(tile, int) or isinstance(tile, bool) or 0 != tile < SMALLEST_TILE):
            raise UsageError(f"`tile` {tile}: give {_KINDS['tile'].wanted}.")
        if overlap is not None and overlap < 0:
            raise UsageError(f"`overlap` {overlap}: give a number of pixels, 0 or more.")
        if tile != "auto" and tile > 0 and overlap is not None and overlap > tile // 2:
            raise UsageError(f"`overlap` {overlap}: at most half of `tile` {tile}.")
        if overlap is not None and tile == 0:
            raise UsageError("`overlap` goes with tiles, and `tile` 0 takes the image as a whole: leave one out.")
        for name, given in (("tile", tile != "auto"), ("overlap", overlap is not None)):
            if self.partition and given:
                raise UsageError(f"The published partition sets the size of its parts itself: leave `{name}` out.")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> RunSettings:
        """From a mapping; raises UsageError for a name that is no setting, with the nearest one."""
        known = [field.name for field in fields(cls)]
        for name in settings:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                raise UsageError(
                    f"There is no setting {name!r}"
                    + (f"; did you mean {near[0]!r}?" if near else f": there are {', '.join(known)}.")
                )
        return cls(**settings)

    def with_(self, **changes: object) -> RunSettings:
        """The same but for `changes`, checked again."""
        return replace(self, **changes)  # type: ignore[arg-type]  # `replace` and the checks refuse what does not fit

    def to_mapping(self) -> dict[str, object]:
        """All settings as JSON-ready values: what a resumable run depends on beside its images and weights."""
        return asdict(self) | {"weights": None if self.weights is None else str(self.weights)}


def check_alpha(alpha: str) -> AlphaChoice:
    """The choice, if it is one; raises UsageError."""
    if alpha not in ALPHA_CHOICES:
        raise UsageError(f"`alpha` {alpha}: choose model, resize or drop.")
    return alpha


def parse_setting(name: str, text: str) -> object:
    """A setting's value from text, as options and forms have it; raises UsageError for what cannot be read.

    Whether a value will do is `RunSettings`' business.
    """
    kind = _KINDS[name]
    try:
        return kind.read(text)
    except ValueError:
        raise UsageError(f"`{name}` {text}: give {kind.wanted.lower()}.") from None  # `true`, outside of Python


def _number(number: Callable[[str], object], *words: str) -> Callable[[str], object]:
    """Reads a number, or one of `words` in whatever capitals."""
    return lambda text: text.strip().lower() if text.strip().lower() in words else number(text)


def _switch(text: str) -> bool:
    words = {"1": True, "true": True, "on": True, "0": False, "false": False, "off": False}
    if text.strip().lower() not in words:
        raise ValueError(text)
    return words[text.strip().lower()]


@dataclass(frozen=True)
class _Kind:
    """What to give for a setting, of what types, and how text is read. Without types: checked with its range."""

    wanted: str
    types: tuple[type, ...] = ()
    read: Callable[[str], object] = str


_NONE, _WHOLE = type(None), (int, type(None))
_KINDS: Mapping[str, _Kind] = {
    "task": _Kind("the name of a task", (str, _NONE)),
    "scale": _Kind("2, 3 or 4", _WHOLE, int),
    "size": _Kind("text such as 1920x, x1080, 1920x1080 or 150%", (str, _NONE)),
    "scene": _Kind("indoor, outdoor or mixed", (str, _NONE)),
    "model": _Kind("a name in the catalog, or auto", (str,)),
    "weights": _Kind("a file", (str, PurePath, _NONE)),
    "config": _Kind("a mapping of the network's settings", (Mapping, _NONE)),
    "stripe": _Kind("4 or 8", _WHOLE),
    "sigma": _Kind(f"a number from 0 to {MAX_SIGMA:g}, or auto", read=_number(float, "auto")),
    "jpeg": _Kind("a quality from 1 to 100, auto or off", read=_number(int, "auto", "off")),
    "device": _Kind("auto, cpu, cuda, cuda:N or mps", (str,)),
    "backend": _Kind("auto or the name of a back end", (str,)),
    "precision": _Kind("auto, fp32, bf16 or fp16", (str,)),
    "tile": _Kind(f"auto, {SMALLEST_TILE} or more pixels, or 0 for the whole image", read=_number(int, "auto")),
    "overlap": _Kind("a number of pixels", _WHOLE),
    "partition": _Kind("True or False", (bool,)),
    "ensemble": _Kind("True or False", (bool,), _switch),
    "threads": _Kind("a number, 1 or more", _WHOLE),
}


def _check_sigma(sigma: object) -> None:
    if sigma is None or sigma == "auto":
        return
    number = isinstance(sigma, (int, float)) and not isinstance(sigma, bool)
    if not number or not 0 <= sigma <= MAX_SIGMA or math.isnan(sigma):  # type: ignore[operator, arg-type]
        raise UsageError(f"`sigma` {sigma}: give {_KINDS['sigma'].wanted}.")


def _check_jpeg(jpeg: object) -> None:
    if jpeg in ("auto", "off"):
        return
    if not isinstance(jpeg, int) or isinstance(jpeg, bool) or not 1 <= jpeg <= 100:
        raise UsageError(f"`jpeg` {jpeg}: give {_KINDS['jpeg'].wanted}.")


@dataclass(frozen=True, slots=True)
class Levels:
    """What a network is told of an image, and how that is known.

    Attributes:
        sigma: noise level of 255; None for a network that is not told one, or for an estimate still to be made.
        jpeg: quality, 1 to 100; None for no JPEG, or for a network that is not told.
        sigma_origin: who says so.
        jpeg_origin: who says so; "file" is the quantisation tables of the picture's own file.
    """

    sigma: float | None = None
    jpeg: int | None = None
    sigma_origin: LevelOrigin = "nothing known"
    jpeg_origin: LevelOrigin = "nothing known"

    def __str__(self) -> str:
        """For people, such as "σ 12.3 (estimated), JPEG 75 (file)"; empty where nothing is told."""
        parts = []
        if self.sigma_origin != "nothing known":
            parts.append("σ by the image" if self.sigma is None else f"σ {self.sigma:.1f} ({self.sigma_origin})")
        parts += [f"JPEG {self.jpeg} ({self.jpeg_origin})"] if self.jpeg is not None else []
        return ", ".join(parts)
