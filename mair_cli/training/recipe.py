"""Settings of a training run: a TOML file read into frozen structs; an unknown key or a wrong type is an error.

Every field below is a key of the file; its section is the lower-case name of the class (`[data]`, `[degradation]`,
`[training]`, `[validation]`), and `[network]` holds the published constructor names (see `mair_cli.networks.settings`).
What a single value may be stands in its type, what several must be to one another in `__post_init__` beside them.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from mair_cli.datasets.degradations import Degradation, Kernel, Subsampling
from mair_cli.errors import UsageError
from mair_cli.networks.settings import FrameConfig, NetworkConfig, config_from_mapping
from mair_cli.tasks import find_task
from mair_cli.training.refusals import explained, unannotated

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Optimizer = Literal["adam", "adamw", "muon"]
OPTIMIZERS: tuple[Optimizer, ...] = get_args(Optimizer)

FINITE = sys.float_info.max
# The smallest normal number: "above 0" to msgspec is the smallest denormal one, and training sets those to 0.
ABOVE_0 = sys.float_info.min

# The descriptions are what an error says.
Count = Annotated[int, Meta(ge=1, description="counts are at least 1")]
CountOrNone = Annotated[int, Meta(ge=0, description="must be 0 or more")]
Share = Annotated[float, Meta(ge=0, le=1, description="shares lie in 0 to 1")]
Positive = Annotated[float, Meta(ge=ABOVE_0, le=FINITE, description="must be above 0")]
NotNegative = Annotated[float, Meta(ge=0, le=FINITE, description="must be 0 or more")]
Decay = Annotated[float, Meta(ge=0, lt=1, description="must lie in 0 to below 1")]

LARGEST_FILE = 1 << 20

# A file name: neither a path, `..`, a hidden file nor an option.
_PLAIN_NAME = re.compile(r"(?![.-])[^/\\:\x00-\x1f]{1,100}")

# What is done to patches of a task where the recipe says nothing, and what is measured.
_USUAL_DEGRADATIONS: dict[str, tuple[dict[str, list[int]], list[str]]] = {
    "denoise": ({"noise": [0, 75]}, ["noise 15", "noise 25", "noise 50"]),
    "dejpeg": ({"jpeg": [5, 95]}, ["jpeg 10", "jpeg 40", "jpeg 75"]),
}

# Shares of a run after which the learning rate is halved (network.md, 8).
PUBLISHED_MILESTONES = (0.5, 0.8, 0.9, 0.95)


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file. A lone value stands for a list of one.

    Where values do not go together, `__post_init__` raises ValueError; its text begins with the key.
    """


class DataSettings(Section, frozen=True, kw_only=True):
    """`[data]`: where the training images are and what is cut from them."""

    images: tuple[str, ...] = ()
    """Folders (searched in depth) or files, relative to the current folder; inputs are made from them."""
    pairs: tuple[str, ...] = ()
    """Instead of `images`: a folder of inputs and one of targets, paired by file name without its ending. Several
    inputs may share one target: `0001_0.8_0.2` goes with `0001`."""
    targets: tuple[str, ...] = ()
    """Folders of another network's outputs for `images`, by the same names: what is learnt instead of the original."""
    target_share: Annotated[tuple[Share, ...], Meta(min_length=1, max_length=2, description="one share or two")] = (
        1.0,
    )
    """Share of the patches whose target comes from `targets`: one number, or at the first step and at the last."""
    exclude: tuple[str, ...] = ()
    """Patterns of file names to leave out, such as `"*_LR.png"`."""
    patch: Count = 32
    """Side of a patch in input pixels; the target patch is `scale` times as wide."""
    batch: Count = 8
    """Patches per step, over all processes together."""
    zoom: Annotated[
        tuple[Annotated[float, Meta(ge=ABOVE_0, le=1, description="sizes lie above 0, up to 1")], ...],
        Meta(min_length=1, description="one size at least"),
    ] = (1.0,)
    """Sizes at which each image takes part: `[1.0, 0.5]` adds a copy of half the width (bicubic, antialiased)."""
    draw: Literal["area", "image"] = "area"
    """Whether images are drawn in proportion to their area, every pixel being as likely, or each as often as others."""
    mixup: NotNegative = 0.0
    """Mixes each patch with another one, in a ratio drawn from the beta distribution with this parameter; 0: never."""
    mixup_share: Share = 1.0
    """Share of the patches that are mixed."""
    candidates: Count = 1
    """Draw this many patches for each one used and keep the one richest in detail; 1 draws evenly."""
    strict: bool = False
    """Whether a damaged file or an animation ends the run; else it is named and left out."""
    cache: str = ""
    """Folder for decoded images, read by memory mapping; empty keeps them in memory."""
    workers: Count = 1
    """What prepares batches in the background: threads beside a CPU's training, processes beside a GPU's."""

    def __post_init__(self) -> None:
        """Check what images are meant; raises ValueError."""
        if bool(self.images) == bool(self.pairs):
            raise ValueError("images and data.pairs exclude each other" if self.images else "images names no folder")
        if len(self.pairs) not in (0, 2):
            raise ValueError("pairs wants two folders: inputs and targets")
        if self.targets and (self.pairs or self.zoom != (1.0,)):
            raise ValueError("targets belongs to data.images at their own size: without data.pairs and data.zoom")


class DegradationSettings(Section, frozen=True, kw_only=True):
    """`[degradation]`: what is done to input patches, drawn for each; what is drawn is told to networks with levels.

    In this order: a filter that makes the image smaller, noise, JPEG. A range is `[lowest, highest]`, drawn uniformly,
    or one number; a share is a probability.
    """

    clean_share: Share = 0.0
    """Patches that neither noise nor JPEG touches, so that clean images lose nothing."""
    kernels: tuple[Kernel, ...] = ("bicubic",)
    """Super-resolution: filters that make the input: bicubic (MATLAB's), lanczos, area, bilinear."""
    kernel_shares: tuple[Share, ...] = (1.0,)
    """One share for each of `kernels`."""
    noise: tuple[Annotated[float, Meta(ge=0, le=255, description="noise lies in 0 to 255")], ...] = ()
    """Standard deviation of 255; empty for none."""
    noise_share: Share = 1.0
    """Share of noisy patches among those that are not clean."""
    jpeg: tuple[Annotated[int, Meta(ge=1, le=100, description="quality lies in 1 to 100")], ...] = ()
    """Quality, 1 to 100; empty for none."""
    jpeg_share: Share = 1.0
    """Share of JPEGs among patches that are neither clean nor noisy."""
    jpeg_after_noise_share: Share = 1.0
    """Share of JPEGs among noisy patches."""
    subsampling: tuple[Subsampling, ...] = ("4:2:0", "4:4:4")
    """How the colour of JPEGs is sampled."""
    subsampling_shares: tuple[Share, ...] = (0.75, 0.25)
    """One share for each of `subsampling`."""
    twice_share: Share = 0.0
    """Share of JPEGs compressed twice, first with another quality drawn from `jpeg`; told is the second."""

    def __post_init__(self) -> None:
        """Check that ranges are ranges, and that there is one share for each choice; raises ValueError."""
        for name, values in (("noise", self.noise), ("jpeg", self.jpeg)):
            if len(values) > 2 or list(values) != sorted(values):
                raise ValueError(f"{name} must be one number or [lowest, highest]")
        for name, shares, choices in (
            ("kernel_shares", self.kernel_shares, self.kernels),
            ("subsampling_shares", self.subsampling_shares, self.subsampling),
        ):
            if len(shares) != len(choices) or not math.isclose(sum(shares), 1, abs_tol=1e-6):
                raise ValueError(f"{name} must be {len(choices)} shares that add up to 1")


class TrainingSettings(Section, frozen=True, kw_only=True):
    """`[training]`: loss, optimiser, schedule and what is kept."""

    steps: Count
    seed: CountOrNone = 0
    loss: Literal["l1", "charbonnier", "mse"] = "l1"
    charbonnier_eps: Positive = 1e-3
    tv: NotNegative = 0.0
    """Weight of the output's total variation, added to the loss."""
    optimizer: Optimizer = "adam"
    learning_rate: Positive = 2e-4
    betas: tuple[Decay, Decay] = (0.9, 0.99)
    weight_decay: NotNegative = 0.0
    schedule: Literal["cosine", "multistep", "constant"] = "cosine"
    warmup: CountOrNone = 0
    """Steps over which the learning rate rises linearly from zero."""
    hold: CountOrNone = 0
    """Steps at full learning rate, after `warmup`, before the cosine begins."""
    final_learning_rate: NotNegative = 1e-6
    """Where the cosine ends."""
    milestones: tuple[Share, ...] = PUBLISHED_MILESTONES
    """Shares of `steps` after which the multi-step schedule halves the learning rate."""
    stages: tuple[tuple[Share, Count, Count], ...] = ()
    """Growing patches: `[[0.0, 32, 16], [0.5, 48, 8]]` means patch 48, batch 8 from half of the steps on."""
    clip: NotNegative = 1.0
    """Largest gradient norm; 0 leaves gradients alone."""
    ema: Decay = 0.999
    """Decay of the moving average of the weights, which is what is measured and exported; 0 turns it off."""
    precision: Literal["fp32", "bf16"] = "fp32"
    start_from: str = ""
    """Weights to start from; layers that do not fit (such as another scale's head) keep their fresh values."""
    save_every: Count = 500
    log_every: Count = 20
    tensorboard: bool = False
    """Whether to write the log for TensorBoard too (extra `tensorboard`)."""
    threads: CountOrNone = 0
    """CPU threads; 0 leaves the choice to PyTorch."""


class ValidationSettings(Section, frozen=True, kw_only=True):
    """`[validation]`: what is measured while training. The network with the best mean PSNR is kept."""

    images: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    """A folder of inputs and one of targets, as in `[data]`."""
    holdout: CountOrNone = 0
    """Training images set aside for validation, spread evenly over the sorted list."""
    every: Count = 1000
    crop: CountOrNone = 0
    """Measure only the central square of this side, in target pixels; 0 takes the whole image."""
    degradations: tuple[str, ...] = ()
    """What is measured: `clean`, `jpeg 75`, `noise 25`, `noise 15 jpeg 50` …; each is a row of the log. Empty: clean
    for super-resolution and pairs, noise 15, 25 and 50 for denoising. The best network has the highest mean of them."""

    def __post_init__(self) -> None:
        """Check the number of folders and the spelling of degradations; raises ValueError."""
        if len(self.pairs) not in (0, 2):
            raise ValueError("pairs wants two folders: inputs and targets")
        for text in self.degradations:
            try:
                Degradation.parse(text)
            except UsageError as error:
                raise ValueError(f"degradations: {error}") from error


class _Run(Section, frozen=True, kw_only=True):
    """What a run's file and its settings have in common."""

    name: str
    task: str
    """See `mair_cli.tasks.TASKS`."""
    data: DataSettings
    training: TrainingSettings
    degradation: DegradationSettings = DegradationSettings()
    validation: ValidationSettings = ValidationSettings()
    output: str = ""
    """Run folder; `runs/NAME` when empty."""


class _File(_Run, frozen=True, kw_only=True):
    """A file as it stands."""

    network: dict[str, object]


class Settings(_Run, frozen=True, kw_only=True):
    """A whole training run."""

    network: NetworkConfig

    def __post_init__(self) -> None:
        """Check what sections must be to one another; raises ValueError naming the key."""
        if not _PLAIN_NAME.fullmatch(self.name):
            raise ValueError(f"name = {self.name!r} must be a plain word: it names a folder and files")
        task = find_task(self.task)
        if task.enlarges and self.scale == 1:
            raise ValueError(f"task {task.name!r} needs network.upsampler and network.upscale of 2 or more")
        if not task.enlarges and self.scale != 1:
            raise ValueError(f"task {task.name!r} needs a network without upsampler")
        if task.inputs == "given" and not self.data.pairs:
            raise ValueError(f"task {task.name!r} needs data.pairs: inputs and targets in two folders")
        if task.inputs == "given" and self.validation.images:
            raise ValueError(f"validation.images cannot measure task {task.name!r}: validation.pairs can")
        if self.data.mixup and self.network.levels:
            raise ValueError("data.mixup and the levels of network exclude each other: a mixture has none")
        if self.degradation.kernels != ("bicubic",) and (not task.enlarges or self.data.pairs):
            raise ValueError("degradation.kernels belongs to super-resolution with data.images")

    @property
    def folder(self) -> Path:
        """Where everything that the run writes is put."""
        return Path(self.output or f"runs/{self.name}")

    @property
    def scale(self) -> int:
        """Target pixels per input pixel along one side; 1 but for super-resolution."""
        return self.network.upscale if isinstance(self.network, FrameConfig) else 1

    def to_mapping(self) -> dict[str, object]:
        """Everything as plain values, as the file would hold it."""
        mapping: dict[str, object] = msgspec.to_builtins(self)
        return mapping | {"network": self.network.to_mapping()}


def read_settings(path: Path, overrides: Sequence[str] = ()) -> Settings:
    """Read a TOML file and lay `overrides` (`section.key=value`, the value in TOML) over it.

    Raises UsageError when the file is missing or not TOML, or when a key or value is not understood.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise UsageError(f"{path} is no recipe: it is larger than {LARGEST_FILE >> 10} KiB")
        mapping = tomllib.loads(content.decode("utf-8"))
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
    plain = {key: dict(value) if isinstance(value, Mapping) else value for key, value in mapping.items()}
    _read_older_keys(plain)
    _fill_in_degradations(plain)
    for field in msgspec.structs.fields(_File):
        section = plain.get(field.name)
        if isinstance(section, dict) and field.name != "network":
            _wrap_lone_values(field.type, section)
    try:
        file = msgspec.convert(plain, _File)
    except msgspec.ValidationError as error:
        raise UsageError(f"{source}: {explained(error, _File)}") from error
    try:
        return Settings(**{**msgspec.structs.asdict(file), "network": config_from_mapping(file.network)})
    except (ValueError, UsageError) as error:
        raise UsageError(f"{source}: {error}") from error


def _read_older_keys(mapping: dict[str, Any]) -> None:
    """`data.noise` and `validation.noise`, which denoising had before there were other degradations."""
    data, validation = mapping.get("data"), mapping.get("validation")
    if mapping.get("task") != "denoise":
        return
    if isinstance(data, dict) and "noise" in data:
        mapping.setdefault("degradation", {}).setdefault("noise", data.pop("noise"))
    if isinstance(validation, dict) and "noise" in validation:
        levels = validation.pop("noise")
        given = levels if isinstance(levels, list | tuple) else [levels]
        validation.setdefault("degradations", [f"noise {level}" for level in given])


def _fill_in_degradations(mapping: dict[str, Any]) -> None:
    """Denoising without a word about degradations adds noise of every strength, removing JPEG artefacts compresses."""
    data, usual = mapping.get("data"), _USUAL_DEGRADATIONS.get(str(mapping.get("task")))
    if usual is None or not isinstance(data, dict) or "pairs" in data:
        return
    degradation, measured = usual
    mapping["degradation"] = mapping.get("degradation") or dict(degradation)
    validation = mapping.setdefault("validation", {})
    if isinstance(validation, dict):
        validation.setdefault("degradations", list(measured))


def _wrap_lone_values(kind: type[Section], section: dict[str, object]) -> None:
    for field in msgspec.structs.fields(kind):
        value = section.get(field.name, ())
        if get_origin(unannotated(field.type)) is tuple and not isinstance(value, list | tuple):
            section[field.name] = [value]


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
        raise UsageError(f"`set` {override!r}: write it as section.key=value, such as training.steps=1000")
    *sections, last = key.strip().split(".")
    target = mapping
    for section in sections:
        child = target.setdefault(section, {})
        if not isinstance(child, dict):
            raise UsageError(f"`set` {override!r}: {section!r} is not a section")
        target = child
    target[last] = parse_value(text)
