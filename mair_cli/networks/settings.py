"""Settings of the networks, under the names that the published constructors use.

They arrive as mappings (from checkpoint metadata, catalog entries, TOML recipes) and leave as mappings; in between they
are frozen, typed and checked, and an unknown name is an error. What a single setting may be stands in its type, which
msgspec checks; what settings must be to each other is checked by their class.
"""

# Annotations are values here, not text: evaluating text while a file is read would look like running what it holds.
import difflib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from mair_cli.errors import UsageError
from mair_cli.scan.orders import ScanPattern

Upsampler = Literal["pixelshuffle", "pixelshuffledirect"]
Aggregation = Literal["shuffle", "sum"]
ChannelAttention = Literal["classic", "narrow", "light"]
Count = Annotated[int, Meta(ge=1)]
Depths = Annotated[tuple[Count, ...], Meta(min_length=1)]
Width = Annotated[int, Meta(ge=1, le=4096)]
States = Annotated[int, Meta(ge=1, le=256)]
Ratio = Annotated[float, Meta(gt=0, le=16)]
Rate = Annotated[float, Meta(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """What all networks have in common.

    Attributes:
        drop_path_rate: stochastic depth of the last block while training; rises linearly from 0 at the first.
        noise_level_map: an extra constant input channel σ/255, so that one network serves every noise level (ours).
        jpeg_level_map: likewise (100 - Q)/100 for JPEG quality Q (ours; see `networks.levels`).
        use_checkpoint: gradient checkpointing: each block computes its forward pass again for its gradients instead of
            keeping what it computed. Takes less memory and more time; changes no result.
    """

    drop_path_rate: Rate = 0.1
    noise_level_map: bool = False
    jpeg_level_map: bool = False
    use_checkpoint: bool = False

    marks: ClassVar[frozenset[str]] = frozenset()
    """Settings that only this network has: a mapping with one of them describes it."""
    ignored: ClassVar[frozenset[str]] = frozenset({"img_size", "dynamic_ids", "batch_size"})
    """Arguments of the published constructor that do not change what is computed."""
    fixed: ClassVar[Mapping[str, object]] = {
        "patch_size": 1,
        "patch_norm": True,
        "drop_rate": 0.0,
        "mlp_drop": 0.0,
        "bias": False,
    }
    """Arguments that every published network leaves at one value; any other value would be another network."""

    def __post_init__(self) -> None:
        """Check every setting, lists becoming tuples; raises UsageError naming the first that does not fit."""
        for name, kind in _kinds(type(self)).items():
            object.__setattr__(self, name, _checked(name, vars(self)[name], kind))

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels that the network takes, in the order of its input channels; see `networks.levels`."""
        told = {"noise_level": self.noise_level_map, "jpeg_level": self.jpeg_level_map}
        return tuple(name for name, taken in told.items() if taken)

    @property
    def colors(self) -> int:
        """Colour channels of what is restored at once: 3, or 1 for gray."""
        return 3

    @property
    def block_count(self) -> int:
        """How many blocks there are at least, known without building them."""
        raise NotImplementedError

    def to_mapping(self) -> dict[str, object]:
        """The settings as a JSON-ready mapping that `config_from_mapping` reads back."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@dataclass(frozen=True, kw_only=True)
class FrameConfig(NetworkConfig):
    """The frame that MaIR and MambaIR share (network.md, 5): super-resolution and Gaussian denoising.

    Attributes:
        upscale: 2, 3, 4 or 8; 1 for denoising.
        in_chans: 3 for colour, 1 for gray: such a network restores each channel of a colour image by itself.
        embed_dim: C, channels of the body.
        depths: blocks in each group.
        d_state: N, numbers carried per channel along a scan.
        ssm_ratio: inner width D = int(ssm_ratio · C).
        upsampler: `pixelshuffle` (classic SR), `pixelshuffledirect` (lightweight SR), None (denoising).
        img_range: factor on the input after the mean is taken off.
        resi_connection: `1conv` or `3conv`.
    """

    upscale: Annotated[int, Meta(ge=1, le=8)] = 4
    in_chans: Literal[1, 3] = 3
    embed_dim: Width = 60
    depths: Depths = (6, 6, 6, 6)
    d_state: States = 1
    ssm_ratio: Ratio = 1.1
    upsampler: Upsampler | None = "pixelshuffledirect"
    img_range: Annotated[float, Meta(gt=0)] = 1.0
    resi_connection: Literal["1conv", "3conv"] = "1conv"

    def __post_init__(self) -> None:
        """Check every setting; raises UsageError naming the first that does not fit."""
        super().__post_init__()
        _require(self.upscale in (1, 2, 3, 4, 8), "upscale", self.upscale, "1, 2, 3, 4 or 8")
        _require((self.upscale == 1) == (self.upsampler is None), "upscale", self.upscale, "1 without upsampler only")
        _require_channels(self.embed_dim, ssm_ratio=self.ssm_ratio)

    @property
    def colors(self) -> int:
        """Colour channels of what is restored at once."""
        return self.in_chans

    @property
    def block_count(self) -> int:
        """Blocks of all groups."""
        return sum(self.depths)


@dataclass(frozen=True, kw_only=True)
class MaIRConfig(FrameConfig):
    """MaIR.

    Attributes:
        mlp_ratio: hidden width of the MLPs, int(mlp_ratio · C).
        scan_len: stripe width in pixels.
        scan_pattern: one of `mair_cli.scan.orders.SCAN_PATTERNS` (for ablations; published: `nested`).
        shift: whether every second block shifts its stripes (for ablations; published: True).
        aggregation: `shuffle` (sequence shuffle attention, published) or `sum` of the directions (for ablations).
    """

    mlp_ratio: Ratio = 1.6
    scan_len: Width = 8
    scan_pattern: ScanPattern = "nested"
    shift: bool = True
    aggregation: Aggregation = "shuffle"

    def __post_init__(self) -> None:
        """Check every setting; raises UsageError naming the first that does not fit."""
        super().__post_init__()
        _require_channels(self.embed_dim, mlp_ratio=self.mlp_ratio)


@dataclass(frozen=True, kw_only=True)
class TrunkConfig(MaIRConfig):
    """MaIR's blocks in the trunk of another network.

    Attributes:
        trunk: whose.
    """

    ssm_ratio: Ratio = 1.0
    drop_path_rate: Rate = 0.0
    mlp_ratio: Ratio = 2.0
    trunk: Literal["span", "ffdnet"]


@dataclass(frozen=True, kw_only=True)
class MaIRSPANConfig(TrunkConfig):
    """MaIR's blocks in SPAN's trunk; `depths` are the blocks behind each of SPAN's."""

    embed_dim: Width = 48
    depths: Depths = (1, 1, 1, 1, 1, 1)
    trunk: Literal["span"] = "span"


@dataclass(frozen=True, kw_only=True)
class MaIRFFDNetConfig(TrunkConfig):
    """MaIR's blocks in FFDNet's trunk; `depths` are the blocks behind each two of FFDNet's convolutions."""

    upscale: Annotated[int, Meta(ge=1, le=8)] = 1
    upsampler: Upsampler | None = None
    embed_dim: Width = 96
    depths: Depths = (1, 1, 1, 1, 1)
    trunk: Literal["ffdnet"] = "ffdnet"

    def __post_init__(self) -> None:
        """Check every setting; raises UsageError naming the first that does not fit."""
        super().__post_init__()
        _require(self.upscale == 1, "upscale", self.upscale, "1: FFDNet does not enlarge")
        _require(self.resi_connection == "1conv", "resi_connection", self.resi_connection, "1conv: FFDNet has none")


@dataclass(frozen=True, kw_only=True)
class MambaIRConfig(FrameConfig):
    """MambaIR, which MaIR is compared with: the same frame, rows and columns as scan orders, and convolutions with
    channel attention in place of the MLPs.

    Attributes:
        channel_attention: `classic`, `narrow` or `light`, the forms that checkpoints have (see `networks.mambair`).
    """

    embed_dim: Width = 180
    depths: Depths = (6, 6, 6, 6, 6, 6)
    d_state: States = 16
    ssm_ratio: Ratio = 2.0
    upsampler: Upsampler | None = "pixelshuffle"
    channel_attention: ChannelAttention = "classic"

    marks = frozenset({"channel_attention"})
    # Files written by earlier versions name settings of MaIR, too.
    ignored = FrameConfig.ignored | {"mlp_ratio", "scan_len", "shift"}
    fixed: ClassVar[Mapping[str, object]] = {**NetworkConfig.fixed, "scan_pattern": "raster", "aggregation": "sum"}


@dataclass(frozen=True, kw_only=True)
class MambaIRv2Config(FrameConfig):
    """MambaIRv2 in the same frame; the inner width of its scan is int(mlp_ratio · C).

    Attributes:
        mlp_ratio: hidden width of the feed-forward branches, and inner width of the scan, over C.
        num_heads: attention heads of each group.
        window_size: side of the attention's windows in pixels.
        inner_rank: rank of the product that gives the prompts.
        num_tokens: kinds that pixels are sorted into.
        convffn_kernel_size: side of the branches' convolution, with `feed_forward` conv.
        feed_forward: `conv` (classic) or `gated` (light), two classes in the published code.
    """

    embed_dim: Width = 174
    depths: Depths = (6, 6, 6, 6, 6, 6)
    d_state: States = 16
    ssm_ratio: Ratio = 1.0
    drop_path_rate: Rate = 0.0
    upsampler: Upsampler | None = "pixelshuffle"
    mlp_ratio: Ratio = 2.0
    num_heads: Depths = (6, 6, 6, 6, 6, 6)
    window_size: Annotated[int, Meta(ge=2, le=64, multiple_of=2)] = 16
    inner_rank: Width = 64
    num_tokens: Width = 128
    convffn_kernel_size: Annotated[int, Meta(ge=1, le=31)] = 5
    feed_forward: Literal["conv", "gated"] = "conv"

    marks = frozenset({"num_heads", "window_size", "inner_rank", "num_tokens", "feed_forward"})
    fixed: ClassVar[Mapping[str, object]] = {**NetworkConfig.fixed, "qkv_bias": True, "ape": False}

    def __post_init__(self) -> None:
        """Check every setting; raises UsageError naming the first that does not fit."""
        super().__post_init__()
        _require(self.ssm_ratio == 1, "ssm_ratio", self.ssm_ratio, "1: mlp_ratio is the scan's too")
        _require(self.drop_path_rate == 0, "drop_path_rate", self.drop_path_rate, "0: it has no stochastic depth")
        _require(len(self.num_heads) == len(self.depths), "num_heads", self.num_heads, "one number for each of depths")
        for heads in self.num_heads:
            _require(self.embed_dim % heads == 0, "num_heads", self.num_heads, f"divisors of {self.embed_dim}")
        _require(self.embed_dim >= 3, "embed_dim", self.embed_dim, "3 or more")
        _require_channels(self.embed_dim, mlp_ratio=self.mlp_ratio)


@dataclass(frozen=True, kw_only=True)
class MaIRUNetConfig(NetworkConfig):
    """The U-shaped network (network.md, 6): deblurring, dehazing, camera noise.

    Attributes:
        dim: width of the first level; each level doubles it.
        num_blocks: blocks at encoder levels 1, 2, 3 and the latent level; decoders mirror the first three.
        num_refinement_blocks: blocks after the last decoder.
        ssm_ratio: inner width over outer width.
        flp_ratio: MLP ratio of encoder level 1.
        mlp_ratio: MLP ratio elsewhere.
        scan_len: stripe width in pixels, the same at all levels.
        shift: whether every second block shifts its stripes, counted through all levels (ours; published: False).
    """

    dim: Annotated[Width, Meta(multiple_of=2)] = 48
    num_blocks: tuple[Count, Count, Count, Count] = (4, 6, 6, 8)
    num_refinement_blocks: Count = 4
    ssm_ratio: Ratio = 2.0
    flp_ratio: Ratio = 4.0
    mlp_ratio: Ratio = 1.5
    scan_len: Width = 8
    shift: bool = False

    marks = frozenset({"dim", "inp_channels", "num_blocks", "num_refinement_blocks"})
    # The published code can also take two views of a dual-pixel camera; no checkpoint does.
    fixed: ClassVar[Mapping[str, object]] = {
        **NetworkConfig.fixed,
        "in_chans": 3,
        "inp_channels": 3,
        "out_channels": 3,
        "dual_pixel_task": False,
    }

    def __post_init__(self) -> None:
        """Check every setting; raises UsageError naming the first that does not fit."""
        super().__post_init__()
        _require_channels(self.dim, ssm_ratio=self.ssm_ratio, flp_ratio=self.flp_ratio, mlp_ratio=self.mlp_ratio)

    @property
    def block_count(self) -> int:
        """Blocks on the way down."""
        return sum(self.num_blocks)


_IN_TRUNKS: Mapping[str, type[TrunkConfig]] = {"span": MaIRSPANConfig, "ffdnet": MaIRFFDNetConfig}


def config_from_mapping(settings: Mapping[str, object]) -> NetworkConfig:
    """Read settings under the published constructors' names; what is left out takes the class's default.

    A mapping with `dim`, `inp_channels` or `num_blocks` describes the U-shaped network, one with `channel_attention`
    MambaIR, one with `num_heads` or `window_size` MambaIRv2, one with `trunk` MaIR in SPAN's or in FFDNet's, any other
    one MaIR.

    Raises:
        UsageError: an unknown name, or a value of the wrong type or range; names it.
    """
    marked = (kind for kind in (MaIRUNetConfig, MambaIRConfig, MambaIRv2Config) if kind.marks & settings.keys())
    kind: type[NetworkConfig] = next(marked, MaIRConfig)
    if "trunk" in settings:
        trunk = settings["trunk"]
        _require(trunk in _IN_TRUNKS, "trunk", trunk, f"one of {', '.join(_IN_TRUNKS)}")
        kind = _IN_TRUNKS[str(trunk)]
    known = _kinds(kind)
    values: dict[str, Any] = {}
    for name, value in settings.items():
        if name in known:
            values[name] = None if value == "" else value  # TOML cannot write None
        elif name in kind.fixed:
            _require(value == kind.fixed[name], name, value, kind.fixed[name])
        elif name not in kind.ignored:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}? Known" if near else "known"
            raise UsageError(f"Unknown network setting {name!r}; {hint} are {', '.join(sorted(known))}.")
    return kind(**values)


def _kinds(config: type[NetworkConfig]) -> dict[str, Any]:
    """What each setting must be: types with their bounds."""
    return {field.name: field.type for field in fields(config)}


def _checked(name: str, value: object, kind: Any) -> object:  # noqa: ANN401 - any type that msgspec understands
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        reason = str(error).partition(" - at ")[0].replace("`", "")
        choices = ", ".join(re.findall(r"'(\w+)'", str(kind)))
        reason = f"it must be one of {choices}" if choices else reason[0].lower() + reason[1:]
        raise UsageError(f"The network setting {name!r} is {value!r}: {reason}.") from None


def _require(condition: bool, name: str, value: object, allowed: object) -> None:
    if not condition:
        raise UsageError(f"The network setting {name!r} is {value!r}; it must be {allowed}.")


def _require_channels(width: int, **ratios: float) -> None:
    for name, ratio in ratios.items():
        _require(int(ratio * width) >= 1, name, ratio, f"at least one channel's share of {width}")
