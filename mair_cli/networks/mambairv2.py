"""MambaIRv2 (Guo et al., CVPR 2025) in MaIR's frame: window attention, then one scan that sees pixels by kind.

Glossary:
    T       tokens: kinds that pixels are sorted into (`num_tokens`)
    prompt  what a pixel's kind adds to the scan's output gate C; the paper's attentive state space
    route   sorts pixels into kinds
The scan walks the pixels kind by kind, in image order within a kind, and once only. As in the published code prompts
are added in image order, not in that of the scan; published weights were trained with it. The published code draws
kinds at random (Gumbel) when restoring too; here the likeliest kind is taken, so that results repeat.

Two forms of the feed-forward branch: `conv` in the classic network, `gated` in the light one. Parameter names are those
of published checkpoints (github.com/csguoh/MambaIR).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mair_cli.networks.blocks import BlockSequence, PrimitiveModule, ScanModule, mirror_to_multiple, on_pixels
from mair_cli.networks.frame import Frame, final_convolution, infer_head
from mair_cli.networks.levels import Level
from mair_cli.networks.network import StateDict, count_numbered, infer_levels, shortest_ratio
from mair_cli.networks.settings import MambaIRv2Config
from mair_cli.scan.dispatch import selective_scan
from mair_cli.scan.operators import compiled_scan

_FIRST = "layers.0.residual_group.layers.0."
_MASKED = -100.0
_KERNEL = 5  # of the gated branch, which has no setting for it


class WindowAttention(PrimitiveModule):
    """Self-attention within square windows, with a learnt bias for each offset (Liu et al., "Swin Transformer", 2021).

    Args:
        width: C.
        heads: attention heads.
        window: side of a window in pixels.
        shift: by how much windows are moved down and to the right.
    """

    offsets: Tensor

    def __init__(self, width: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        self.proj = nn.Linear(width, width)
        place = torch.arange(window)
        apart = place[:, None] - place + window - 1
        offsets = apart[:, None, :, None] * (2 * window - 1) + apart[None, :, None, :]
        self.register_buffer("offsets", offsets.reshape(window**2, window**2).int(), persistent=False)
        self.initialise()

    def initialise(self) -> None:
        """Start values of the bias."""
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, qkv: Tensor) -> Tensor:
        """Map (B, H, W, 3C), queries, keys and values, to (B, H, W, C); sides are multiples of the window's."""
        batch, height, width, channels = qkv.shape
        side, rows, columns = self.window, height // self.window, width // self.window
        if self.shift:
            qkv = torch.roll(qkv, (-self.shift, -self.shift), (1, 2))
        windows = qkv.view(batch, rows, side, columns, side, 3, self.heads, -1).permute(5, 0, 1, 3, 6, 2, 4, 7)
        q, k, v = windows.reshape(3, batch, rows * columns, self.heads, side**2, -1).unbind()
        bias = self.relative_position_bias_table[self.offsets].permute(2, 0, 1)[None, None]
        if self.shift:
            bias = bias + self._mask(height, width, bias)[None, :, None]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        out = out.view(batch, rows, columns, self.heads, side, side, -1).permute(0, 1, 4, 2, 5, 3, 6)
        out = out.reshape(batch, height, width, channels // 3)
        if self.shift:
            out = torch.roll(out, (self.shift, self.shift), (1, 2))
        projected: Tensor = self.proj(out)
        return projected

    def _mask(self, height: int, width: int, like: Tensor) -> Tensor:
        """(windows, n, n): what was no neighbour before the image was rolled is hidden."""
        row, column = (self._parts(length, like.device) for length in (height, width))
        side = self.window
        parts = (3 * row[:, None] + column).view(height // side, side, width // side, side)
        parts = parts.permute(0, 2, 1, 3).reshape(-1, side**2)
        return (parts[:, None] != parts[:, :, None]).to(like.dtype) * _MASKED

    def _parts(self, length: int, device: torch.device) -> Tensor:
        """Number of the part, 0 to 2, that each row or column of the rolled image belongs to."""
        place = torch.arange(length, device=device)
        return (place >= length - self.window).int() + (place >= length - self.shift).int()

    @property
    def own_multiply_adds(self) -> int:
        """Per pixel, besides its layers: queries with keys, weights with values."""
        return 2 * self.window**2 * self.proj.in_features


class SemanticScan(ScanModule):
    """The selective scan of one direction, with prompts."""

    def __init__(self, inner: int, d_state: int) -> None:
        super().__init__(1, inner, math.ceil(inner / 16), d_state)
        self.initialise()

    def _initialise_projection(self, weight: Tensor) -> None:
        inner = weight.shape[-1]
        nn.init.uniform_(weight, -(inner**-0.5), inner**-0.5)

    def forward(self, u: Tensor, prompt: Tensor) -> Tensor:
        """Scan u (B, L, D) from the first to the last, prompts (B, L, N): (B, L, D)."""
        length, states = u.shape[1], self.A_logs.shape[1]
        projections = F.linear(u, self.x_proj_weight[0])
        projections = torch.cat([projections[..., :-states], projections[..., -states:] + prompt], dim=-1)
        order = torch.arange(length, dtype=torch.int32, device=u.device)[None]
        inputs = self.scan_inputs(u.contiguous(), projections.unsqueeze(2), order)
        scan = compiled_scan if torch.compiler.is_compiling() else selective_scan
        return scan(inputs, backend=self.scan_backend)[:, 0]


class AttentiveStateSpace(PrimitiveModule):
    """Sorts pixels by kind, scans them, and puts them back."""

    def __init__(self, width: int, inner: int, config: MambaIRv2Config) -> None:
        super().__init__()
        self.selectiveScan = SemanticScan(inner, config.d_state)
        self.out_norm = nn.LayerNorm(inner)
        self.out_proj = nn.Linear(inner, width)
        self.in_proj = nn.Sequential(nn.Conv2d(width, inner, 1))
        self.CPE = nn.Sequential(nn.Conv2d(inner, inner, 3, padding=1, groups=inner))
        self.embeddingB = nn.Embedding(config.num_tokens, config.inner_rank)
        self.route = nn.Sequential(
            nn.Linear(width, width // 3), nn.GELU(), nn.Linear(width // 3, config.num_tokens), nn.LogSoftmax(dim=-1)
        )
        self.initialise()

    def initialise(self) -> None:
        """Start values of the kinds."""
        limit = 1 / self.embeddingB.num_embeddings
        nn.init.uniform_(self.embeddingB.weight, -limit, limit)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape; `embedding` (rank, N) with `embeddingB` gives each kind's prompt."""
        policy = self._policy(self.route(x.flatten(1, 2)))
        prompt = policy @ (self.embeddingB.weight @ embedding)
        order = torch.sort(policy.argmax(-1), dim=-1, stable=True).indices.unsqueeze(-1)
        features = on_pixels(self.in_proj, x)
        features = (features * torch.sigmoid(on_pixels(self.CPE, features))).flatten(1, 2)
        by_kind = torch.gather(features, 1, order.expand_as(features))
        y = self.out_proj(self.out_norm(self.selectiveScan(by_kind, prompt)))
        back: Tensor = torch.zeros_like(y).scatter(1, order.expand_as(y), y)
        return back.view_as(x)

    def _policy(self, likely: Tensor) -> Tensor:
        """(B, L, T), 1 for the kind of each pixel; drawn while training, the likeliest else."""
        if self.training:
            return F.gumbel_softmax(likely, hard=True)
        return F.one_hot(likely.argmax(-1), likely.shape[-1]).to(likely.dtype)


class _Depthwise(nn.Module):
    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        convolution = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.depthwise_conv = nn.Sequential(convolution, nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        return on_pixels(self.depthwise_conv, x)


class ConvFeedForward(nn.Module):
    """Two linear layers, a depthwise convolution added between them."""

    def __init__(self, width: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.dwconv = _Depthwise(hidden, kernel)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape."""
        x = F.gelu(self.fc1(x))
        out: Tensor = self.fc2(x + self.dwconv(x))
        return out


class _SpatialGate(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv2d(width, width, _KERNEL, padding=_KERNEL // 2, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        kept, gate = x.chunk(2, dim=-1)
        return kept * on_pixels(self.conv, self.norm(gate))


class GatedFeedForward(nn.Module):
    """Two linear layers; half of the hidden channels weigh the other half, after a depthwise convolution."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.sg = _SpatialGate(hidden // 2)
        self.fc2 = nn.Linear(hidden // 2, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape."""
        out: Tensor = self.fc2(self.sg(F.gelu(self.fc1(x))))
        return out


class AttentiveLayer(PrimitiveModule):
    """Window attention and attentive state space, each followed by a feed-forward branch."""

    def __init__(self, config: MambaIRv2Config, heads: int, shifted: bool) -> None:
        super().__init__()
        width, hidden = config.embed_dim, int(config.embed_dim * config.mlp_ratio)
        shift = config.window_size // 2 if shifted else 0
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(width) for _ in range(4))
        self.scale1, self.scale2 = (nn.Parameter(torch.full((width,), 1e-4)) for _ in range(2))
        self.wqkv = nn.Linear(width, 3 * width)
        self.win_mhsa = WindowAttention(width, heads, config.window_size, shift)
        self.assm = AttentiveStateSpace(width, hidden, config)
        self.convffn1, self.convffn2 = (self._branch(config, width, hidden) for _ in range(2))
        self.embeddingA = nn.Embedding(config.inner_rank, config.d_state)
        self.initialise()

    @staticmethod
    def _branch(config: MambaIRv2Config, width: int, hidden: int) -> nn.Module:
        if config.feed_forward == "gated":
            return GatedFeedForward(width, hidden)
        return ConvFeedForward(width, hidden, config.convffn_kernel_size)

    def initialise(self) -> None:
        """Start values of the embedding."""
        limit = 1 / self.embeddingA.num_embeddings
        nn.init.uniform_(self.embeddingA.weight, -limit, limit)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape."""
        near = self.win_mhsa(self.wqkv(self.norm1(x))) + x
        near = self.convffn1(self.norm2(near)) + near
        x = torch.addcmul(near, x, self.scale1)
        far = self.assm(self.norm3(x), self.embeddingA.weight) + x
        far = self.convffn2(self.norm4(far)) + far
        return torch.addcmul(far, x, self.scale2)


class AttentiveGroup(nn.Module):
    """Layers, a convolution, and the group's input."""

    def __init__(self, config: MambaIRv2Config, group: int) -> None:
        super().__init__()
        heads, depth = config.num_heads[group], config.depths[group]
        layers = [AttentiveLayer(config, heads, place % 2 == 1) for place in range(depth)]
        self.residual_group = nn.Sequential(OrderedDict(layers=BlockSequence(layers, config.use_checkpoint)))
        self.conv = final_convolution(config.embed_dim, config.resi_connection)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape."""
        return on_pixels(self.conv, self.residual_group(x)) + x


class MambaIRv2(Frame):
    """MambaIRv2: super-resolution, Gaussian denoising, JPEG artefacts; input and output as `MaIR`'s."""

    config_type = MambaIRv2Config
    scans_stripes = False
    size_multiple = 16  # the published window: sides are extended to multiples of it inside, and cropped again
    constants = frozenset({"relative_position_index_SA"})
    config: MambaIRv2Config

    def __init__(self, config: MambaIRv2Config) -> None:
        super().__init__(config)

    def _group(self, number: int, rates: Sequence[float]) -> nn.Module:
        return AttentiveGroup(self.config, number)

    def forward(self, image: Tensor, noise_level: Level | None = None, jpeg_level: Level | None = None) -> Tensor:
        """As `Frame.forward`."""
        height, width = image.shape[2:]
        restored = super().forward(
            mirror_to_multiple(image, self.config.window_size, repeat_edge=True), noise_level, jpeg_level
        )
        return restored[:, :, : height * self.scale, : width * self.scale]

    def _block_values(self) -> int:
        """Attention holds its masked bias and 3·C; the scan six times D and twice the kinds."""
        config = self.config
        hidden = int(config.embed_dim * config.mlp_ratio)
        attention = 3 * config.embed_dim + max(config.num_heads) * config.window_size**2
        return 4 * config.embed_dim + max(attention, 6 * hidden + 2 * config.num_tokens)

    @classmethod
    def recognises(cls, state: StateDict) -> bool:
        """By its kinds of pixels."""
        return _FIRST + "assm.embeddingB.weight" in state

    @classmethod
    def infer_settings(cls, state: StateDict) -> dict[str, object]:
        """All of them."""
        width, channels = state["conv_first.weight"].shape[:2]
        groups = range(count_numbered(state, "layers.{}."))
        head, scale, colors = infer_head(state)
        table = "layers.{}.residual_group.layers.0.win_mhsa.relative_position_bias_table"
        tables = [state[table.format(group)].shape for group in groups]
        inner, states = state[_FIRST + "assm.selectiveScan.A_logs"].shape
        kernel = state.get(_FIRST + "convffn1.dwconv.depthwise_conv.0.weight")
        return {
            "upscale": scale,
            "in_chans": colors,
            "embed_dim": width,
            "depths": [count_numbered(state, f"layers.{group}.residual_group.layers.{{}}.") for group in groups],
            "num_heads": [shape[1] for shape in tables],
            "window_size": (math.isqrt(tables[0][0]) + 1) // 2,
            "d_state": states,
            "inner_rank": state[_FIRST + "embeddingA.weight"].shape[0],
            "num_tokens": state[_FIRST + "assm.embeddingB.weight"].shape[0],
            "mlp_ratio": shortest_ratio((inner, width)),
            "feed_forward": "gated" if kernel is None else "conv",
            **({} if kernel is None else {"convffn_kernel_size": kernel.shape[-1]}),
            "upsampler": head,
            "resi_connection": "1conv" if "conv_after_body.weight" in state else "3conv",
            **infer_levels(channels, colors),
        }
