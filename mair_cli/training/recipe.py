"""Settings of a training run: a TOML file read into frozen dataclasses; an unknown key or a wrong type is an error.

Every field below is a key of the file; its section is the lower-case name of the class (`[data]`, `[degradation]`,
`[training]`, `[validation]`), and `[network]` holds the published constructor names (see `mair_cli.networks.settings`).
"""

from __future__ import annotations

import difflib
import math
import sys
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from mair_cli.datasets.degradations import Degradation, Kernel, Subsampling
from mair_cli.errors import UsageError
from mair_cli.networks.settings import FrameConfig, config_from_mapping

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

    images: tuple[str, ...] = ()
    """Folders (searched in depth) or files, relative to the current folder; inputs are made from them."""
    pairs: tuple[str, ...] = ()
    """Instead of `images`: a folder of inputs and one of targets, paired by file name without its ending."""
    targets: tuple[str, ...] = ()
    """Folders of another network's outputs for `images`, by the same names: what is learnt instead of the original."""
    target_share: tuple[float, ...] = (1.0,)
    """Share of the patches whose target comes from `targets`: one number, or at the first step and at the last."""
    exclude: tuple[str, ...] = ()
    """Patterns of file names to leave out, such as `"*_LR.png"`."""
    patch: int = 32
    """Side of a patch in input pixels; the target patch is `scale` times as wide."""
    batch: int = 8
    """Patches per step, over all processes together."""
    zoom: tuple[float, ...] = (1.0,)
    """Sizes at which each image takes part: `[1.0, 0.5]` adds a copy of half the width (bicubic, antialiased)."""
    candidates: int = 1
    """Draw this many patches for each one used and keep the one richest in detail; 1 draws evenly."""
    cache: str = ""
    """Folder for decoded images, read by memory mapping; empty keeps them in memory."""
    workers: int = 1
    """Background threads that prepare batches."""


@dataclass(frozen=True)
class DegradationSettings:
    """`[degradation]`: what is done to input patches, drawn for each; what is drawn is told to networks with levels.

    In this order: a filter that makes the image smaller, noise, JPEG. A range is `[lowest, highest]`, drawn uniformly,
    or one number; a share is a probability.
    """

    clean_share: float = 0.0
    """Patches that neither noise nor JPEG touches, so that clean images lose nothing."""
    kernels: tuple[str, ...] = ("bicubic",)
    """Super-resolution: filters that make the input: bicubic (MATLAB's), lanczos, area, bilinear."""
    kernel_shares: tuple[float, ...] = (1.0,)
    """One share for each of `kernels`."""
    noise: tuple[float, ...] = ()
    """Standard deviation of 255; empty for none."""
    noise_share: float = 1.0
    """Share of noisy patches among those that are not clean."""
    jpeg: tuple[int, ...] = ()
    """Quality, 1 to 100; empty for none."""
    jpeg_share: float = 1.0
    """Share of JPEGs among patches that are neither clean nor noisy."""
    jpeg_after_noise_share: float = 1.0
    """Share of JPEGs among noisy patches."""
    subsampling: tuple[str, ...] = ("4:2:0", "4:4:4")
    """How the colour of JPEGs is sampled."""
    subsampling_shares: tuple[float, ...] = (0.75, 0.25)
    """One share for each of `subsampling`."""
    twice_share: float = 0.0
    """Share of JPEGs compressed twice, first with another quality drawn from `jpeg`; told is the second."""


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
    degradations: tuple[str, ...] = ()
    """What is measured: `clean`, `jpeg 75`, `noise 25`, `noise 15 jpeg 50` …; each is a row of the log. Empty: clean
    for super-resolution and pairs, noise 15, 25 and 50 for denoising. The best network has the highest mean of them."""


@dataclass(frozen=True)
class Settings:
    """A whole training run."""

    name: str
    task: str
    network: FrameConfig
    data: DataSettings
    training: TrainingSettings
    degradation: DegradationSettings = field(default_factory=DegradationSettings)
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
        for section in ("data", "degradation", "training", "validation"):
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
    if not isinstance(network, FrameConfig):
        raise UsageError(f"{source}: the U-shaped network cannot be trained here; [network] must describe MaIR")
    data, degradation, validation = (
        dict(_section(mapping, key, source)) for key in ("data", "degradation", "validation")
    )
    if mapping["task"] == "denoise":
        _fill_in_denoising(data, degradation, validation)
    settings = Settings(
        name=_convert(mapping["name"], str, f"{source}: name"),
        task=_convert(mapping["task"], str, f"{source}: task"),
        network=network,
        data=_build(DataSettings, data, f"{source}: data"),
        degradation=_build(DegradationSettings, degradation, f"{source}: degradation"),
        training=_build(TrainingSettings, _section(mapping, "training", source), f"{source}: training"),
        validation=_build(ValidationSettings, validation, f"{source}: validation"),
        output=_convert(mapping.get("output", ""), str, f"{source}: output"),
    )
    _check(settings, source)
    return settings


def _fill_in_denoising(data: dict[str, object], degradation: dict[str, object], validation: dict[str, object]) -> None:
    """Denoising without a word about degradations adds noise of every strength, as does the older key `data.noise`."""
    if "noise" in data:
        degradation.setdefault("noise", data.pop("noise"))
    elif not degradation and "pairs" not in data:
        degradation["noise"] = [0.0, 75.0]
    if "noise" in validation:
        levels = validation.pop("noise")
        given = levels if isinstance(levels, list | tuple) else [levels]
        validation.setdefault("degradations", [f"noise {level}" for level in given])
    elif "degradations" not in validation and "pairs" not in data:
        validation["degradations"] = ["noise 15", "noise 25", "noise 50"]


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


Section = typing.TypeVar("Section", DataSettings, DegradationSettings, TrainingSettings, ValidationSettings)


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
        (not data.images and not data.pairs, "data.images names no folder (nor does data.pairs)"),
        (bool(data.images) and bool(data.pairs), "data.images and data.pairs exclude each other"),
        (len(data.pairs) not in (0, 2), "data.pairs wants two folders: inputs and targets"),
        (
            bool(data.targets) and (bool(data.pairs) or data.zoom != (1.0,)),
            "data.targets belongs to data.images at their own size: without data.pairs and data.zoom",
        ),
        (not _shares(data.target_share, (1, 2)), "data.target_share must be a share, 0 to 1, or two"),
        (settings.task == "sr" and not sharpens, "task 'sr' needs network.upsampler"),
        (settings.task == "denoise" and sharpens, "task 'denoise' needs a network without upsampler"),
        (settings.task == "sr" and settings.network.upscale < 2, "task 'sr' needs network.upscale of 2 or more"),
        (min(data.patch, data.batch, data.workers, data.candidates) < 1, "data: counts must be at least 1"),
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
    _check_degradation(settings, source)


def _check_degradation(settings: Settings, source: str) -> None:
    told = settings.degradation
    for values, low, high, name in (
        (told.noise, 0.0, 255.0, "noise"),
        (told.jpeg, 1, 100, "jpeg"),
    ):
        if len(values) > 2 or list(values) != sorted(values) or any(not low <= value <= high for value in values):
            raise UsageError(
                f"{source}: degradation.{name} must be one number or [lowest, highest] within {low:g} to {high:g}"
            )
    for names, allowed, name in (
        (told.kernels, typing.get_args(Kernel), "kernels"),
        (told.subsampling, typing.get_args(Subsampling), "subsampling"),
    ):
        if not names or not set(names) <= set(allowed):
            raise UsageError(f"{source}: degradation.{name} must be some of {', '.join(allowed)}")
    for shares, names, name in (
        (told.kernel_shares, told.kernels, "kernel_shares"),
        (told.subsampling_shares, told.subsampling, "subsampling_shares"),
    ):
        if not _shares(shares, (len(names),)) or not math.isclose(sum(shares), 1, abs_tol=1e-6):
            raise UsageError(f"{source}: degradation.{name} must be {len(names)} shares that add up to 1")
    for name in ("clean_share", "noise_share", "jpeg_share", "jpeg_after_noise_share", "twice_share"):
        if not _shares((getattr(told, name),), (1,)):
            raise UsageError(f"{source}: degradation.{name} must lie in 0 to 1")
    if told.kernels != ("bicubic",) and (settings.task != "sr" or settings.data.pairs):
        raise UsageError(f"{source}: degradation.kernels belongs to task 'sr' with data.images")
    for text in settings.validation.degradations:
        try:
            Degradation.parse(text)
        except UsageError as error:
            raise UsageError(f"{source}: validation.degradations: {error}") from error


def _shares(values: Sequence[float], lengths: Sequence[int]) -> bool:
    """Whether `values` are shares, 0 to 1, and as many as one of `lengths`."""
    return len(values) in lengths and all(0 <= value <= 1 for value in values)
