"""Settings of a training run: a TOML file read into frozen dataclasses; an unknown key or a wrong type is an error.

Every field below is a key of the file; its section is the lower-case name of the class (`[data]`, `[training]`,
`[validation]`), and `[network]` holds the published constructor names (see `mair_cli.models.config`).
"""

from __future__ import annotations

import difflib
import sys
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from mair_cli.errors import UsageError
from mair_cli.models.config import MaIRConfig, MaIRUNetConfig, config_from_mapping

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TASKS = ("sr", "denoise")
LOSSES = ("l1", "charbonnier")
OPTIMIZERS = ("adam", "adamw", "muon")
SCHEDULES = ("cosine", "multistep", "constant")
PRECISIONS = ("fp32", "bf16")

# Shares of a run after which the learning rate is halved (network.md, 8).
PUBLISHED_MILESTONES = (0.5, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class DataSettings:
    """`[data]`: where the training images are and what is cut from them."""

    images: tuple[str, ...]
    """Folders (searched in depth) or files, relative to the current folder."""
    exclude: tuple[str, ...] = ()
    """Patterns of file names to leave out, such as `"*_LR.png"`."""
    patch: int = 32
    """Side of a patch in input pixels; the target patch is `scale` times as wide."""
    batch: int = 8
    """Patches per step, over all processes together."""
    noise: tuple[float, ...] = (0.0, 75.0)
    """Denoising: the lowest and the highest noise level of 255, drawn uniformly per patch; one number fixes it."""
    zoom: tuple[float, ...] = (1.0,)
    """Sizes at which each image takes part: `[1.0, 0.5]` adds a copy of half the width (bicubic, antialiased)."""
    candidates: int = 1
    """Draw this many patches for each one used and keep the one richest in detail; 1 draws evenly."""
    cache: str = ""
    """Folder for decoded images, read by memory mapping; empty keeps them in memory."""
    workers: int = 1
    """Background threads that prepare batches."""


@dataclass(frozen=True)
class TrainingSettings:
    """`[training]`: loss, optimiser, schedule and what is kept."""

    steps: int
    seed: int = 0
    loss: str = "l1"
    charbonnier_eps: float = 1e-3
    optimizer: str = "adam"
    learning_rate: float = 2e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    schedule: str = "cosine"
    warmup: int = 0
    """Steps over which the learning rate rises linearly from zero."""
    final_learning_rate: float = 1e-6
    """Where the cosine ends."""
    milestones: tuple[float, ...] = PUBLISHED_MILESTONES
    """Shares of `steps` after which the multi-step schedule halves the learning rate."""
    stages: tuple[tuple[float, int, int], ...] = ()
    """Growing patches: `[[0.0, 32, 16], [0.5, 48, 8]]` means patch 48, batch 8 from half of the steps on."""
    clip: float = 1.0
    """Largest gradient norm; 0 leaves gradients alone."""
    ema: float = 0.999
    """Decay of the moving average of the weights, which is what is measured and exported; 0 turns it off."""
    precision: str = "fp32"
    start_from: str = ""
    """Weights to start from; layers that do not fit (such as another scale's head) keep their fresh values."""
    save_every: int = 500
    log_every: int = 20
    threads: int = 0
    """CPU threads; 0 leaves the choice to PyTorch."""


@dataclass(frozen=True)
class ValidationSettings:
    """`[validation]`: what is measured while training. The network with the best mean PSNR is kept."""

    images: tuple[str, ...] = ()
    holdout: int = 0
    """Training images set aside for validation, spread evenly over the sorted list."""
    every: int = 1000
    crop: int = 0
    """Measure only the central square of this side, in target pixels; 0 takes the whole image."""
    noise: tuple[float, ...] = (15.0, 25.0, 50.0)
    """Denoising: the noise levels that are measured."""


@dataclass(frozen=True)
class Settings:
    """A whole training run."""

    name: str
    task: str
    network: MaIRConfig
    data: DataSettings
    training: TrainingSettings
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    output: str = ""
    """Run folder; `runs/NAME` when empty."""

    @property
    def folder(self) -> Path:
        """Where everything that the run writes is put."""
        return Path(self.output or f"runs/{self.name}")

    @property
    def scale(self) -> int:
        """Target pixels per input pixel along one side; 1 for denoising."""
        return self.network.upscale if self.task == "sr" else 1

    def to_mapping(self) -> dict[str, object]:
        """Everything as plain values, as the file would hold it."""
        mapping: dict[str, object] = {"name": self.name, "task": self.task, "output": self.output}
        mapping["network"] = self.network.to_mapping()
        for section in ("data", "training", "validation"):
            mapping[section] = {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in asdict(getattr(self, section)).items()
            }
        return mapping


def read_settings(path: Path, overrides: Sequence[str] = ()) -> Settings:
    """Read a TOML file and lay `overrides` (`section.key=value`, the value in TOML) over it.

    Raises UsageError when the file is missing or not TOML, or when a key or value is not understood.
    """
    try:
        mapping = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the settings {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    for override in overrides:
        _apply_override(mapping, override)
    return settings_from_mapping(mapping, str(path))


def settings_from_mapping(mapping: Mapping[str, object], source: str = "settings") -> Settings:
    """Check a nested mapping, as read from TOML, and turn it into `Settings`.

    `source` is named in error messages. Raises UsageError naming the key that is unknown, missing or out of range.
    """
    known = {item.name for item in fields(Settings)}
    _refuse_unknown(mapping, known, source)
    for key in ("name", "task", "network", "data", "training"):
        if key not in mapping:
            raise UsageError(f"{source}: {key!r} is missing")
    network = config_from_mapping(_section(mapping, "network", source))
    if isinstance(network, MaIRUNetConfig):
        raise UsageError(f"{source}: the U-shaped network cannot be trained here; [network] must describe MaIR")
    settings = Settings(
        name=_convert(mapping["name"], str, f"{source}: name"),
        task=_convert(mapping["task"], str, f"{source}: task"),
        network=network,
        data=_build(DataSettings, _section(mapping, "data", source), f"{source}: data"),
        training=_build(TrainingSettings, _section(mapping, "training", source), f"{source}: training"),
        validation=_build(ValidationSettings, _section(mapping, "validation", source), f"{source}: validation"),
        output=_convert(mapping.get("output", ""), str, f"{source}: output"),
    )
    _check(settings, source)
    return settings


def parse_value(text: str) -> object:
    """A value as TOML writes it; a bare word is a string, for nobody wants to quote quotes in a shell."""
    try:
        value: object = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()
    return value


def _apply_override(mapping: dict[str, object], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {override!r}: write it as section.key=value, such as training.steps=1000")
    *sections, last = key.strip().split(".")
    target = mapping
    for section in sections:
        child = target.setdefault(section, {})
        if not isinstance(child, dict):
            raise UsageError(f"--set {override!r}: {section!r} is not a section")
        target = child
    target[last] = parse_value(text)


def _section(mapping: Mapping[str, object], key: str, source: str) -> Mapping[str, object]:
    value = mapping.get(key, {})
    if not isinstance(value, Mapping):
        raise UsageError(f"{source}: {key!r} must be a section, [{key}]")
    return value


def _refuse_unknown(mapping: Mapping[str, object], known: set[str], where: str) -> None:
    for key in mapping:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(known))}"
            raise UsageError(f"{where}: unknown key {key!r}{hint}")


Section = typing.TypeVar("Section", DataSettings, TrainingSettings, ValidationSettings)


def _build(kind: type[Section], mapping: Mapping[str, object], where: str) -> Section:
    _refuse_unknown(mapping, {item.name for item in fields(kind)}, where)
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for item in fields(kind):
        if item.name in mapping:
            values[item.name] = _convert(mapping[item.name], hints[item.name], f"{where}.{item.name}")
        elif item.default is MISSING:
            raise UsageError(f"{where}.{item.name} is missing")
    return kind(**values)


def _convert(value: object, kind: Any, where: str) -> Any:  # noqa: ANN401 - its type is what `kind` says
    """Return `value` as `kind` (bool, int, float, str or a tuple of them); a lone value fills a tuple of any length."""
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)
        if not isinstance(value, list | tuple):
            value = [value]
        if inner[-1] is Ellipsis:
            return tuple(_convert(item, inner[0], where) for item in value)
        if len(value) != len(inner):
            raise UsageError(f"{where}: {len(inner)} values are wanted, not {len(value)}")
        return tuple(_convert(item, one, where) for item, one in zip(value, inner, strict=True))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise UsageError(f"{where}: {value!r} is not of type {kind.__name__}")


def _check(settings: Settings, source: str) -> None:
    data, training, validation = settings.data, settings.training, settings.validation
    for value, allowed, name in (
        (settings.task, TASKS, "task"),
        (training.loss, LOSSES, "training.loss"),
        (training.optimizer, OPTIMIZERS, "training.optimizer"),
        (training.schedule, SCHEDULES, "training.schedule"),
        (training.precision, PRECISIONS, "training.precision"),
    ):
        if value not in allowed:
            raise UsageError(f"{source}: {name} = {value!r} is not one of {', '.join(allowed)}")
    sharpens = settings.network.upsampler is not None
    for wrong, message in (
        (not settings.name or "/" in settings.name, "name must be a plain word: it names the exported file"),
        (not data.images, "data.images names no folder"),
        (settings.task == "sr" and not sharpens, "task 'sr' needs network.upsampler"),
        (settings.task == "denoise" and sharpens, "task 'denoise' needs a network without upsampler"),
        (settings.task == "sr" and settings.network.upscale < 2, "task 'sr' needs network.upscale of 2 or more"),
        (settings.network.noise_level_map and settings.task == "sr", "network.noise_level_map belongs to 'denoise'"),
        (min(data.patch, data.batch, data.workers, data.candidates) < 1, "data: counts must be at least 1"),
        (len(data.noise) not in (1, 2) or min(data.noise) < 0, "data.noise must be one level or [lowest, highest]"),
        (list(data.noise) != sorted(data.noise), "data.noise must rise: [lowest, highest]"),
        (not data.zoom or min(data.zoom) <= 0 or max(data.zoom) > 1, "data.zoom must hold sizes in (0, 1]"),
        (min(training.steps, training.save_every, training.log_every) < 1, "training: counts must be at least 1"),
        (training.learning_rate <= 0, "training.learning_rate must be above 0"),
        (not 0 <= training.ema < 1, "training.ema must lie in [0, 1)"),
        (min(training.warmup, training.threads, training.seed) < 0, "training: warmup, threads, seed: 0 or more"),
        (any(not 0 <= at <= 1 for at in training.milestones), "training.milestones are shares of the steps, 0 to 1"),
        (any(not 0 <= at <= 1 for at, _, _ in training.stages), "training.stages start at shares of the steps, 0 to 1"),
        (any(min(p, b) < 1 for _, p, b in training.stages), "training.stages: patch and batch must be at least 1"),
        (
            validation.every < 1 or min(validation.holdout, validation.crop) < 0,
            "validation: counts must not be negative",
        ),
    ):
        if wrong:
            raise UsageError(f"{source}: {message}")
