"""Building blocks of MaIR and its U-shaped sibling, for features stored as (B, H, W, C), channels last.

Glossary (Li et al., "MaIR", CVPR 2025):
    VMM  Vision Mamba module          the scan with its gate and projections
    RMB  residual Mamba block         VMM and MLP, each with a residual connection
    SSA  sequence shuffle attention   weighs the four directions against each other, channel by channel
    SSO  state-space operator         the selective scan, see `mair_cli.scan.inputs`
    C    channels of a block;  D  inner channels, int(ssm_ratio · C);  N  state size
    R    rank of the step size, ceil(C / 16);  K  scan directions, 4;  L  pixels, H · W

Parameter names are those of published checkpoints: they must not change.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mair_cli.scan.dispatch import merged_scan, selective_scan
from mair_cli.scan.inputs import Gate, ScanInputs
from mair_cli.scan.operators import compiled_merged_scan, compiled_orders, compiled_scan
from mair_cli.scan.orders import CACHE_BYTES, DIRECTIONS, BoundedCache, scan_orders

# A network alternates between two orders; they are held even where one of them is larger than all that is allowed.
_orders: BoundedCache[tuple[int, int, int, bool, str, torch.device], Tensor] = BoundedCache(
    CACHE_BYTES, lambda order: order.numel() * order.element_size(), always=2
)


def _order_tensor(height: int, width: int, stripe: int, shifted: bool, pattern: str, device: torch.device) -> Tensor:
    def make() -> Tensor:
        # A plain tensor, even where the first caller is in inference mode: the same order serves training afterwards.
        with torch.inference_mode(False):
            return torch.from_numpy(scan_orders(height, width, stripe, shifted, pattern).copy()).to(device)

    return _orders.get((height, width, stripe, shifted, pattern, device), make)


class SequenceShuffleAttention(nn.Module):
    """Parameters of sequence shuffle attention; `mair_cli.scan.backend.shuffle_attention` applies them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        shuffled = DIRECTIONS * channels
        # Published checkpoints call the convolution `gating.1`; its place 0 held the pooling, which has no parameters.
        self.gating = nn.Sequential(nn.Identity(), nn.Conv2d(shuffled, shuffled, 1, groups=channels))

    @property
    def gate(self) -> Gate:
        """The map from pooled directions to their weights."""
        convolution = self.gating[1]
        assert isinstance(convolution, nn.Conv2d)
        assert convolution.bias is not None
        return Gate(convolution.weight, convolution.bias)


class PrimitiveModule(nn.Module):
    """A module with parameters or products of its own, beside those of PyTorch's layers in it."""

    def initialise(self) -> None:
        """Start values of its own parameters."""
        raise NotImplementedError

    @property
    def own_multiply_adds(self) -> int:
        """Per pixel, besides its layers."""
        return 0


class ScanModule(PrimitiveModule):
    """Parameters of a selective scan; sizes in the letters of the glossary above.

    Args:
        directions: K.
        inner: D.
        rank: R.
        d_state: N.
    """

    def __init__(self, directions: int, inner: int, rank: int, d_state: int) -> None:
        super().__init__()
        self.scan_backend = "auto"
        self.x_proj_weight = nn.Parameter(torch.empty(directions, rank + 2 * d_state, inner))
        self.dt_projs_weight = nn.Parameter(torch.empty(directions, inner, rank))
        self.dt_projs_bias = nn.Parameter(torch.empty(directions, inner))
        self.A_logs = nn.Parameter(torch.empty(directions * inner, d_state))
        self.Ds = nn.Parameter(torch.empty(directions * inner))

    def initialise(self) -> None:
        """Start values of the scan's parameters; network.md, 8."""
        if self.A_logs.is_meta:  # only the shapes are wanted, and these operations would load all of torch's compiler
            return
        rank = self.dt_projs_weight.shape[-1]
        self._initialise_projection(self.x_proj_weight)
        nn.init.uniform_(self.dt_projs_weight, -(rank**-0.5), rank**-0.5)
        step = torch.exp(torch.empty(self.dt_projs_bias.shape).uniform_(math.log(0.001), math.log(0.1)))
        with torch.no_grad():
            self.dt_projs_bias.copy_(step + torch.log(-torch.expm1(-step)))
            self.A_logs.copy_(torch.arange(1.0, self.A_logs.shape[1] + 1).log().expand_as(self.A_logs))
        nn.init.ones_(self.Ds)

    def _initialise_projection(self, weight: Tensor) -> None:
        nn.init.trunc_normal_(weight, std=0.02)

    @property
    def own_multiply_adds(self) -> int:
        """Of the scan and its projections, per pixel; network.md, 9."""
        directions, outputs, inner = self.x_proj_weight.shape
        rank, states = self.dt_projs_weight.shape[-1], self.A_logs.shape[-1]
        return directions * inner * (outputs + rank + 9 * states + 1)

    def scan_inputs(self, u: Tensor, projections: Tensor, orders: Tensor) -> ScanInputs:
        """What the scan takes, of features, their projections and orders as in `ScanInputs`."""
        directions, inner = self.dt_projs_bias.shape
        a = -torch.exp(self.A_logs.to(torch.promote_types(u.dtype, torch.float32))).view(directions, inner, -1)
        skip = self.Ds.view(directions, inner)
        return ScanInputs(u, projections, self.dt_projs_weight, self.dt_projs_bias, a, skip, orders)


class VisionMambaModule(ScanModule):
    """Vision Mamba module (VMM): gated selective scan over an image; network.md, 4.

    Args:
        width: C, channels in and out.
        d_state: N, state size.
        ssm_ratio: D over C.
        stripe: stripe width of the scan order.
        shifted: whether the stripes are shifted by half their width.
        pattern: scan order, see `mair_cli.scan.orders`.
        attention: sequence shuffle attention; without it the directions are summed.
    """

    def __init__(
        self,
        width: int,
        d_state: int,
        ssm_ratio: float,
        stripe: int,
        shifted: bool = False,
        pattern: str = "nested",
        attention: bool = True,
    ) -> None:
        inner = int(ssm_ratio * width)
        super().__init__(DIRECTIONS, inner, math.ceil(width / 16), d_state)
        self.stripe, self.shifted, self.pattern = stripe, shifted, pattern
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv2d = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.gating = SequenceShuffleAttention(inner) if attention else None
        self.out_norm = nn.LayerNorm(inner)
        self.out_proj = nn.Linear(inner, width, bias=False)
        self.initialise()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to (B, H, W, C)."""
        batch, height, width, _ = x.shape
        features, gate = self.in_proj(x).chunk(2, dim=-1)
        u = F.silu(self.conv2d(features.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        y = self._scan(u.reshape(batch, height * width, -1), height, width)
        y = self.out_norm(y).view(batch, height, width, -1) * F.silu(gate)
        out: Tensor = self.out_proj(y)
        return out

    def _orders(self, height: int, width: int, device: torch.device) -> Tensor:
        """The scan's orders, (K, L) int32."""
        if torch.compiler.is_compiling():
            return compiled_orders(height, width, self.stripe, self.shifted, self.pattern, device)
        return _order_tensor(height, width, self.stripe, self.shifted, self.pattern, device)

    def orders(self, height: int, width: int) -> NDArray[np.int32]:
        """The scan's orders, (K, L)."""
        return scan_orders(height, width, self.stripe, self.shifted, self.pattern)

    def _scan(self, u: Tensor, height: int, width: int) -> Tensor:
        """Scan (B, L, D) in all directions and merge them: (B, L, D), pixels in image order."""
        projections = F.linear(u, self.x_proj_weight.flatten(0, 1)).unflatten(-1, (DIRECTIONS, -1))
        inputs = self.scan_inputs(u, projections, self._orders(height, width, u.device))
        compiling = torch.compiler.is_compiling()
        if self.gating is None:
            scan = compiled_scan if compiling else selective_scan
            return scan(inputs, backend=self.scan_backend).sum(dim=1)
        merged = compiled_merged_scan if compiling else merged_scan
        return merged(inputs, self.gating.gate, backend=self.scan_backend)


class Mlp(nn.Module):
    """Two linear layers with a GELU between them, acting on single pixels."""

    def __init__(self, width: int, ratio: float) -> None:
        super().__init__()
        hidden = int(width * ratio)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, C) to (…, C)."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


def block_values(width: int, states: int, ssm_ratio: float, hidden: int) -> int:
    """Numbers per pixel that are alive at the busiest moment of a block, in the letters of the glossary above.

    The scan holds 4·D outputs, three times D in and two out, and 4·(R + 2N) projections; the branch after it twice its
    `hidden` channels; beside either there are some C-wide features and residuals.
    """
    inner, rank = int(ssm_ratio * width), math.ceil(width / 16)
    scan = (DIRECTIONS + 3 + 2) * inner + DIRECTIONS * (rank + 2 * states)
    return 5 * width + max(scan, 2 * hidden)


class StochasticDepth(nn.Module):
    """While training, drops the whole branch for a random share of the images and scales up the others."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, …) to the same shape."""
        if not self.training or self.rate == 0:
            return x
        kept = x.new_empty(x.shape[0], *[1] * (x.dim() - 1)).bernoulli_(1 - self.rate)
        return x * kept / (1 - self.rate)


class ResidualMambaBlock(nn.Module):
    """Residual Mamba block (RMB): a VMM and an MLP, each normalised before and added to a scaled input; network.md, 4.

    Args:
        module: the VMM.
        branch: the MLP, or what stands in its place; maps (B, H, W, C) to the same shape.
        width: C.
        drop_path: rate of stochastic depth on the VMM's branch.
        name: what checkpoints call the branch: `conv_blk` in MaIR, `mlp` in the U-shaped network.
    """

    def __init__(
        self, module: VisionMambaModule, branch: nn.Module, width: int, drop_path: float, name: str = "conv_blk"
    ) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.self_attention = module
        self.drop_path = StochasticDepth(drop_path)
        self.skip_scale = nn.Parameter(torch.ones(width))
        self.ln_2 = nn.LayerNorm(width)
        self.skip_scale2 = nn.Parameter(torch.ones(width))
        self.branch_name = name
        self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to (B, H, W, C)."""
        x = torch.addcmul(self.drop_path(self.self_attention(self.ln_1(x))), x, self.skip_scale)
        return torch.addcmul(self.get_submodule(self.branch_name)(self.ln_2(x)), x, self.skip_scale2)


class BlockSequence(nn.Sequential):
    """Blocks in turn, for (B, H, W, C); see `NetworkConfig.use_checkpoint`."""

    def __init__(self, blocks: Iterable[nn.Module], use_checkpoint: bool) -> None:
        super().__init__(*blocks)
        self.use_checkpoint = use_checkpoint

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape."""
        recomputes = self.use_checkpoint and torch.is_grad_enabled()
        for block in self:
            x = checkpoint(block, x, use_reentrant=False) if recomputes else block(x)
        return x


def on_pixels(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply a layer for (B, C, H, W) to (B, H, W, C)."""
    out: Tensor = layer(x.permute(0, 3, 1, 2))
    return out.permute(0, 2, 3, 1)


def on_planes(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply a layer for (B, H, W, C) to (B, C, H, W)."""
    out: Tensor = layer(x.permute(0, 2, 3, 1))
    return out.permute(0, 3, 1, 2)


def initialise_linear_layers(network: nn.Module) -> None:
    """Linear weights truncated normal σ 0.02, biases 0; network.md, 8. Convolutions keep PyTorch's start values."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def mirror_to_multiple(image: Tensor, multiple: int, *, repeat_edge: bool = False) -> Tensor:
    """Extend (B, C, H, W) at the bottom and right to sides divisible by `multiple`, mirrored there.

    The mirror image begins with the last row or column again, or not (`repeat_edge`). It is mirrored again where the
    image is smaller than the extension, so that every image can be extended.
    """
    for axis in (2, 3):
        length, edge = image.shape[axis], int(repeat_edge)
        target = -(-length // multiple) * multiple
        if target > length:
            period = max(2 * (length - 1 + edge), 1)
            place = torch.arange(target, device=image.device) % period
            image = image.index_select(axis, torch.minimum(place, period - edge - place))
    return image
