"""Settings of the networks, under the names that the published constructors use.

They arrive as mappings (from checkpoint metadata, catalog entries, TOML recipes) and leave as mappings; in between they
are frozen, typed and checked, and an unknown name is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, cast, get_args

from mair_cli.errors import UsageError
from mair_cli.scan.orders import SCAN_PATTERNS

Upsampler = Literal["pixelshuffle", "pixelshuffledirect"]
Aggregation = Literal["shuffle", "sum"]
ChannelAttention = Literal["classic", "narrow", "light"]

_IGNORED: Final[dict[str, frozenset[str]]] = {
    # Constructor arguments of the published code that do not change what is computed.
    "mair": frozenset({"img_size", "use_checkpoint", "dynamic_ids", "batch_size"}),
    "unet": frozenset({"img_size", "dynamic_ids", "batch_size"}),
}
_FIXED: Final[dict[str, object]] = {
    # Arguments that every published network leaves at one value; any other value would be another network.
    "patch_size": 1,
    "in_chans": 3,
    "patch_norm": True,
    "drop_rate": 0.0,
    "mlp_drop": 0.0,
    "bias": False,
}


@dataclass(frozen=True)
class MaIRConfig:
    """MaIR (network.md, 5): super-resolution and Gaussian denoising.

    Attributes:
        upscale: 2, 3 or 4; 1 for denoising.
        embed_dim: C, channels of the body.
        depths: residual Mamba blocks in each group.
        d_state: N, numbers carried per channel along a scan.
        ssm_ratio: inner width D = int(ssm_ratio · C).
        mlp_ratio: hidden width of the MLPs, int(mlp_ratio · C).
        upsampler: `pixelshuffle` (classic SR), `pixelshuffledirect` (lightweight SR), None (denoising).
        scan_len: stripe width in pixels.
        img_range: factor on the input after the mean is taken off.
        resi_connection: `1conv` or `3conv`.
        drop_path_rate: stochastic depth of the last block while training; rises linearly from 0 at the first.
        noise_level_map: an extra constant input channel σ/255, so that one network serves every noise level (ours).
        jpeg_level_map: likewise (100 - Q)/100 for JPEG quality Q (ours; see `models.levels`).
        scan_pattern: one of `mair_cli.scan.orders.SCAN_PATTERNS` (for ablations; published: `nested`).
        shift: whether every second block shifts its stripes (for ablations; published: True).
        aggregation: `shuffle` (sequence shuffle attention, published) or `sum` of the directions (for ablations).
    """

    upscale: int = 4
    embed_dim: int = 60
    depths: tuple[int, ...] = (6, 6, 6, 6)
    d_state: int = 1
    ssm_ratio: float = 1.1
    mlp_ratio: float = 1.6
    upsampler: Upsampler | None = "pixelshuffledirect"
    scan_len: int = 8
    img_range: float = 1.0
    resi_connection: str = "1conv"
    drop_path_rate: float = 0.1
    noise_level_map: bool = False
    jpeg_level_map: bool = False
    scan_pattern: str = "nested"
    shift: bool = True
    aggregation: Aggregation = "shuffle"

    def __post_init__(self) -> None:
        """Check every setting; raises UsageError naming the first that does not fit."""
        _require(self.upsampler in (None, *get_args(Upsampler)), "upsampler", self.upsampler, get_args(Upsampler))
        scales = (1,) if self.upsampler is None else (2, 3, 4)
        _require(self.upscale in scales, "upscale", self.upscale, scales)
        _require(
            self.resi_connection in ("1conv", "3conv"), "resi_connection", self.resi_connection, ("1conv", "3conv")
        )
        _require(self.scan_pattern in SCAN_PATTERNS, "scan_pattern", self.scan_pattern, SCAN_PATTERNS)
        _require(self.aggregation in get_args(Aggregation), "aggregation", self.aggregation, get_args(Aggregation))
        _require(bool(self.depths) and min(self.depths) >= 1, "depths", self.depths, "one or more positive numbers")
        _require_widths(self.embed_dim, self.d_state, self.scan_len, (self.ssm_ratio, self.mlp_ratio))
        _require(0 <= self.drop_path_rate < 1, "drop_path_rate", self.drop_path_rate, "0 to below 1")
        _require(self.img_range > 0, "img_range", self.img_range, "a positive number")

    def to_mapping(self) -> dict[str, object]:
        """The settings as a JSON-ready mapping that `config_from_mapping` reads back."""
        return asdict(self) | {"depths": list(self.depths)}


@dataclass(frozen=True)
class MambaIRConfig(MaIRConfig):
    """MambaIR, which MaIR is compared with: the same frame, rows and columns as scan orders, and convolutions with
    channel attention in place of the MLPs.

    Attributes:
        channel_attention: `classic`, `narrow` or `light`, the forms that checkpoints have (see `models.mambair`).
    """

    embed_dim: int = 180
    depths: tuple[int, ...] = (6, 6, 6, 6, 6, 6)
    d_state: int = 16
    ssm_ratio: float = 2.0
    mlp_ratio: float = 1.0  # has no meaning here: there are no MLPs
    upsampler: Upsampler | None = "pixelshuffle"
    scan_pattern: str = "raster"
    shift: bool = False
    aggregation: Aggregation = "sum"
    channel_attention: ChannelAttention = "classic"

    def __post_init__(self) -> None:
        """Check every setting; raises UsageError naming the first that does not fit."""
        super().__post_init__()
        kinds = get_args(ChannelAttention)
        _require(self.channel_attention in kinds, "channel_attention", self.channel_attention, kinds)
        _require(self.scan_pattern == "raster", "scan_pattern", self.scan_pattern, ("raster",))
        _require(self.aggregation == "sum", "aggregation", self.aggregation, ("sum",))


@dataclass(frozen=True)
class MaIRUNetConfig:
    """The U-shaped network (network.md, 6): deblurring, dehazing, camera noise.

    Attributes:
        inp_channels: channels of the input image: 3, or 6 with `dual_pixel_task`.
        out_channels: channels of the result, 3.
        dim: width of the first level; each level doubles it.
        num_blocks: blocks at encoder levels 1, 2, 3 and the latent level; decoders mirror the first three.
        num_refinement_blocks: blocks after the last decoder.
        ssm_ratio: inner width over outer width.
        flp_ratio: MLP ratio of encoder level 1.
        mlp_ratio: MLP ratio elsewhere.
        scan_len: stripe width in pixels, the same at all levels.
        dual_pixel_task: two views in, no residual image.
        drop_path_rate: as in `MaIRConfig`.
        noise_level_map: as in `MaIRConfig`.
        jpeg_level_map: as in `MaIRConfig`.
    """

    inp_channels: int = 3
    out_channels: int = 3
    dim: int = 48
    num_blocks: tuple[int, ...] = (4, 6, 6, 8)
    num_refinement_blocks: int = 4
    ssm_ratio: float = 2.0
    flp_ratio: float = 4.0
    mlp_ratio: float = 1.5
    scan_len: int = 8
    dual_pixel_task: bool = False
    drop_path_rate: float = 0.1
    noise_level_map: bool = False
    jpeg_level_map: bool = False

    def __post_init__(self) -> None:
        """Check every setting; raises UsageError naming the first that does not fit."""
        channels = 6 if self.dual_pixel_task else 3
        _require(self.inp_channels == channels, "inp_channels", self.inp_channels, (channels,))
        _require(self.out_channels == 3, "out_channels", self.out_channels, (3,))
        _require(len(self.num_blocks) == 4 and min(self.num_blocks) >= 1, "num_blocks", self.num_blocks, "four counts")
        _require(self.num_refinement_blocks >= 1, "num_refinement_blocks", self.num_refinement_blocks, "1 or more")
        _require(self.dim % 2 == 0, "dim", self.dim, "an even number")
        _require_widths(self.dim, 1, self.scan_len, (self.ssm_ratio, self.flp_ratio, self.mlp_ratio))

    def to_mapping(self) -> dict[str, object]:
        """The settings as a JSON-ready mapping that `config_from_mapping` reads back."""
        return asdict(self) | {"num_blocks": list(self.num_blocks)}


NetworkConfig = MaIRConfig | MaIRUNetConfig


def config_from_mapping(settings: Mapping[str, object]) -> NetworkConfig:
    """Read settings under the published constructors' names; what is left out takes the class's default.

    A mapping with `dim`, `inp_channels` or `num_blocks` describes the U-shaped network, one with `channel_attention`
    MambaIR, any other one MaIR.

    Raises:
        UsageError: an unknown name, or a value of the wrong type or range; names it.
    """
    is_unet = bool({"dim", "inp_channels", "num_blocks", "num_refinement_blocks"} & settings.keys())
    frame = MambaIRConfig if "channel_attention" in settings else MaIRConfig
    kind: type[NetworkConfig] = MaIRUNetConfig if is_unet else frame
    known = {field.name: field.type for field in fields(kind)}
    values: dict[str, Any] = {}
    for name, value in settings.items():
        if name in known:
            values[name] = _convert(name, str(known[name]), value)
        elif name in _FIXED:
            _require(value == _FIXED[name], name, value, (_FIXED[name],))
        elif name not in _IGNORED["unet" if is_unet else "mair"]:
            raise UsageError(f"Unknown network setting {name!r}; known are {', '.join(sorted(known))}.")
    return kind(**values)


def _convert(name: str, kind: str, value: object) -> object:
    """A JSON or TOML value as the type that the setting is declared with."""
    integer = isinstance(value, int) and not isinstance(value, bool)
    if kind.startswith("tuple"):
        if isinstance(value, (list, tuple)) and all(isinstance(v, int) and not isinstance(v, bool) for v in value):
            return tuple(cast("list[int]", value))
    elif kind == "int":
        if integer:
            return value
    elif kind == "float":
        if integer or isinstance(value, float):
            return float(cast(float, value))
    elif kind == "bool":
        if isinstance(value, bool):
            return value
    elif value is None or isinstance(value, str):
        return value or None
    raise UsageError(f"The network setting {name!r} must be of type {kind}, not {value!r}.")


def _require(condition: bool, name: str, value: object, allowed: object) -> None:
    if not condition:
        raise UsageError(f"The network setting {name!r} is {value!r}; it must be {_allowed(allowed)}.")


def _allowed(allowed: object) -> str:
    if isinstance(allowed, tuple):
        return ("one of " if len(allowed) > 1 else "") + ", ".join(map(str, allowed))
    return str(allowed)


def _require_widths(width: int, states: int, stripe: int, ratios: tuple[float, ...]) -> None:
    _require(1 <= width <= 4096, "embed_dim or dim", width, "1 to 4096")
    _require(1 <= states <= 256, "d_state", states, "1 to 256")
    _require(1 <= stripe <= 4096, "scan_len", stripe, "1 to 4096")
    for ratio in ratios:
        _require(
            0 < ratio <= 16 and int(ratio * width) >= 1, "ssm_ratio, mlp_ratio or flp_ratio", ratio, "above 0, to 16"
        )
