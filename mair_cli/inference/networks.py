"""From the networks to programs: what is constant is computed, and layers next to each other become one.

The affine part of a norm goes into the linear layer after it: W(g·n + b) = (W·diag g)·n + W·b. Decay rates carry
-exp(A_log) and the factor that turns exp into a power of two.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import nn

from mair_cli.inference import activations
from mair_cli.inference.kinds import has_form
from mair_cli.inference.program import Image, MergeWeights, Program, Weights, to_array
from mair_cli.inference.tile import Floats, padded
from mair_cli.inference.winograd import pack_filter
from mair_cli.networks.blocks import Mlp, ResidualMambaBlock, VisionMambaModule
from mair_cli.networks.frame import ResidualMambaGroup
from mair_cli.networks.mair import MaIR
from mair_cli.networks.mair_ffdnet import FOLD, FFDNetGroup, MaIRFFDNet
from mair_cli.networks.mair_span import JOINED, MaIRSPAN, SpanGroup
from mair_cli.networks.mair_unet import MaIRUNet
from mair_cli.networks.network import Network
from mair_cli.scan.cpu.simd import LOG2E
from mair_cli.scan.orders import DIRECTIONS


def _after_norm(linear: nn.Linear, norm: nn.LayerNorm) -> tuple[Floats, Floats]:
    """Weight and bias of a linear layer after a norm without its affine part."""
    weight = to_array(linear.weight).astype(np.float64)
    bias = weight @ to_array(norm.bias) + (0 if linear.bias is None else to_array(linear.bias))
    return (weight * to_array(norm.weight)).astype(np.float32), bias.astype(np.float32)


def _affine(weights: Weights, norm: nn.Module) -> int:
    assert isinstance(norm, nn.LayerNorm)
    return weights.rows(to_array(norm.weight), to_array(norm.bias))


class _Block:
    """A residual Mamba block in three steps and the scan."""

    def __init__(self, weights: Weights, block: nn.Module) -> None:
        assert isinstance(block, ResidualMambaBlock)
        module, mlp = block.self_attention, block.get_submodule(block.branch_name)
        assert isinstance(mlp, Mlp)
        assert module.gating is not None
        self._module = module
        self._inner = inner = module.conv2d.out_channels
        self._entry = self._pack_entry(weights, block)
        assert module.conv2d.bias is not None
        self._taps = weights.rows(to_array(module.conv2d.weight).reshape(inner, 9).T, to_array(module.conv2d.bias))
        self._projections = weights.linear(to_array(module.x_proj_weight.flatten(0, 1)))
        self._parameters = weights.rows(*self._scan_parameters(module))
        gate = module.gating.gate
        taps = to_array(gate.weight).reshape(inner, DIRECTIONS, DIRECTIONS).transpose(1, 2, 0)
        offsets = to_array(gate.bias).reshape(inner, DIRECTIONS).T
        fc1, bias1 = _after_norm(mlp.fc1, block.ln_2)
        self._merge = MergeWeights(
            inner=inner,
            hidden=mlp.fc1.out_features,
            gate=weights.rows(taps, offsets),
            affine=_affine(weights, module.out_norm),
            out=weights.linear(to_array(module.out_proj.weight)),
            skip1=weights.rows(to_array(block.skip_scale)),
            fc1=weights.linear(fc1, bias1),
            fc2=weights.linear(to_array(mlp.fc2.weight), to_array(mlp.fc2.bias)),
            skip2=weights.rows(to_array(block.skip_scale2)),
        )

    def _pack_entry(self, weights: Weights, block: ResidualMambaBlock) -> int:
        """Features and gate side by side, each padded to whole vectors."""
        weight, bias = _after_norm(block.self_attention.in_proj, block.ln_1)
        halves, offsets = np.split(weight, 2), np.split(bias, 2)
        room = padded(self._inner) - self._inner
        both = np.concatenate([np.pad(half, ((0, room), (0, 0))) for half in halves])
        return weights.linear(both, np.concatenate([np.pad(offset, (0, room)) for offset in offsets]))

    @staticmethod
    def _scan_parameters(module: VisionMambaModule) -> Iterator[Floats]:
        """For each direction: step-size projection (R, D), its bias, the skip, decay rates (N, D)."""
        directions, inner = module.dt_projs_bias.shape
        rates = -np.exp(to_array(module.A_logs).astype(np.float64)) * LOG2E
        for k in range(directions):
            yield to_array(module.dt_projs_weight[k]).T
            yield to_array(module.dt_projs_bias[k])
            yield to_array(module.Ds).reshape(directions, inner)[k]
            yield rates.reshape(directions, inner, -1)[k].T.astype(np.float32)

    def __call__(self, program: Program, x: Image, target: Image) -> None:
        """Note the steps from x to target, which may lie in the same place."""
        height, width, module = x.height, x.width, self._module
        rank, states = module.dt_projs_weight.shape[2], module.A_logs.shape[1]
        inner = padded(self._inner)
        both = program.take(height, width, 2 * inner)
        program.linear(x, both, self._entry, normalised=True, activation=activations.SILU, first=inner)
        features, gating = both._replace(channels=inner), both._replace(place=both.place + inner, channels=inner)
        u = program.take(height, width, self._inner)
        projections = program.take(height, width, DIRECTIONS * (rank + 2 * states))
        program.spread(features, self._taps, self._projections, u, projections)
        y = program.take(DIRECTIONS * height, width, self._inner)
        pooled = program.take(DIRECTIONS, 1, self._inner)
        order = program.order(module.orders(height, width))
        program.scan(u, projections, rank, states, self._parameters, order, y, pooled.place)
        for image in (u, projections):
            program.give_back(image)
        program.merge(y, pooled.place, gating, x, target, self._merge)
        for image in (both, y, pooled):
            program.give_back(image)


class _Convolution:
    """One 3×3 convolution, or the bottleneck of three layers that `3conv` names.

    `exact` ones, next to the image's colours, stay in float32: rounding there is seen at once, since Winograd's
    transforms magnify it (×2, first and last layer: -0.06 dB on Set5; all others: less than 0.003 anywhere).
    """

    def __init__(self, weights: Weights, layer: nn.Module, *, exact: bool = False) -> None:
        layers = list(layer) if isinstance(layer, nn.Sequential) else [layer]
        convolutions = [part for part in layers if isinstance(part, nn.Conv2d)]
        self._pairs = weights.pairs and not exact
        self._widths = [part.out_channels for part in convolutions]
        self._places = [self._pack(weights, part) for part in convolutions]

    def _pack(self, weights: Weights, layer: nn.Conv2d) -> int:
        bias = None if layer.bias is None else to_array(layer.bias)
        if layer.kernel_size == (1, 1):
            return weights.linear(to_array(layer.weight)[:, :, 0, 0], bias)
        return weights.add(pack_filter(to_array(layer.weight), bias, pairs=self._pairs))

    def __call__(
        self,
        program: Program,
        x: Image,
        target: Image,
        residual: Image | None = None,
        activation: int = activations.NOTHING,
        slope: float = activations.SLOPE,
    ) -> None:
        """Note the steps; at the end `residual` is added, and a single layer's result activated."""
        if len(self._places) == 1:
            program.convolve(
                x, target, self._places[0], residual, activation=activation, slope=slope, pairs=self._pairs
            )
            return
        first, second = (program.take(x.height, x.width, width) for width in self._widths[:2])
        program.convolve(x, first, self._places[0], activation=activations.LEAKY, slope=slope, pairs=self._pairs)
        program.linear(first, second, self._places[1], activation=activations.LEAKY)
        program.convolve(second, target, self._places[2], residual, pairs=self._pairs)
        program.give_back(first)
        program.give_back(second)


class FrameSteps:
    """Steps of MaIR: from colours (and levels), less their mean, to the larger image's colours, less theirs.

    Attributes:
        weights: packed weights.
        shuffled: factor of a pixel shuffle that is still to be done with the result; 1 for none.
    """

    def __init__(self, network: MaIR, *, pairs: bool) -> None:
        self.weights = weights = Weights(pairs=pairs)
        self._width = network.config.embed_dim
        self._first = _Convolution(weights, network.conv_first, exact=True)
        self._pack_body(network)
        self._upsampler = network.config.upsampler
        if self._upsampler == "pixelshuffle":
            self._before = _Convolution(weights, network.conv_before_upsample[0], exact=True)
        self._upsample = [
            (_Convolution(weights, layer, exact=True), layer.out_channels, shuffle.upscale_factor)
            for layer, shuffle in zip(*[iter(getattr(network, "upsample", ()))] * 2, strict=True)
        ]
        self.shuffled = network.scale if self._upsampler == "pixelshuffledirect" else 1
        if self.shuffled == 1:
            self._last = _Convolution(weights, network.conv_last, exact=True)
            self._colors = network.conv_last.out_channels

    def _pack_body(self, network: MaIR) -> None:
        """Weights of all between the first convolution and the head."""
        self._embed = _affine(self.weights, network.patch_embed[0])
        self._groups = [self._group(group) for group in network.layers]
        self._norm = _affine(self.weights, network.norm)
        self._after = _Convolution(self.weights, network.conv_after_body)

    def _group(self, group: nn.Module) -> tuple[list[_Block], _Convolution]:
        assert isinstance(group, ResidualMambaGroup)
        blocks = [_Block(self.weights, block) for block in group.residual_group.get_submodule("blocks").children()]
        return blocks, _Convolution(self.weights, group.conv)

    def __call__(self, program: Program, entry: Image) -> Image:
        """Note all steps; the result has 3 channels, or 3 · `shuffled`² where that is left to be done."""
        return self._head(program, self._body(program, entry))

    def _body(self, program: Program, entry: Image) -> Image:
        """Note the steps to the features that the head takes."""
        shallow, deep, work = (program.take(entry.height, entry.width, self._width) for _ in range(3))
        self._first(program, entry, shallow)
        program.norm(shallow, deep, self._embed)
        for blocks, convolution in self._groups:
            source = deep
            for block in blocks:
                block(program, source, work)
                source = work
            convolution(program, work, deep, deep)
        program.norm(deep, work, self._norm)
        self._after(program, work, deep, shallow)
        for image in (shallow, work):
            program.give_back(image)
        return deep

    def _head(self, program: Program, features: Image) -> Image:
        if self._upsampler == "pixelshuffle":
            narrow = program.take(features.height, features.width, 64)
            self._before(program, features, narrow, activation=activations.LEAKY, slope=0.01)
            program.give_back(features)
            features = narrow
        for convolution, channels, factor in self._upsample:
            wide = program.take(features.height, features.width, channels)
            convolution(program, features, wide)
            program.give_back(features)
            if self.shuffled > 1:
                return wide
            features = program.take(wide.height * factor, wide.width * factor, channels // factor**2)
            program.shuffle(wide, features, factor)
            program.give_back(wide)
        out = program.take(features.height, features.width, self._colors)
        self._last(program, features, out)
        return out


class SpanSteps(FrameSteps):
    """Steps of MaIR in SPAN's trunk; the rest as in MaIR's frame.

    In pairs, the convolutions of the first block and the last one stay in float32: what they round reaches the end
    through every block, or through none (×4, Set5: 0.006 dB lost instead of 0.015).
    """

    def _pack_body(self, network: MaIR) -> None:
        """SPAN's blocks, those behind them, and what joins their features."""
        assert isinstance(network, MaIRSPAN)
        weights = self.weights
        self._trunk = [self._span_group(group, exact=number == 0) for number, group in enumerate(network.layers)]
        self._after = _Convolution(weights, network.conv_after_body, exact=True)
        # Features lie side by side in whole vectors: what fills those up counts nothing.
        parts = np.split(to_array(network.join.weight)[:, :, 0, 0], JOINED, axis=1)
        room = ((0, 0), (0, padded(self._width) - self._width))
        assert network.join.bias is not None
        joined = np.concatenate([np.pad(part, room) for part in parts], axis=1)
        self._join = weights.linear(joined, to_array(network.join.bias))

    def _span_group(self, group: nn.Module, *, exact: bool) -> tuple[list[_Convolution], list[_Block]]:
        assert isinstance(group, SpanGroup)
        convolutions = [_Convolution(self.weights, layer, exact=exact) for layer in group.attention.children()]
        return convolutions, [_Block(self.weights, block) for block in group.blocks]

    def _body(self, program: Program, entry: Image) -> Image:
        height, width, channels, apart = entry.height, entry.width, self._width, padded(self._width)
        joined = program.take(height, width, JOINED * apart)
        shallow, last, early, first = (
            joined._replace(place=joined.place + number * apart, channels=channels) for number in range(JOINED)
        )
        deep, second = (program.take(height, width, channels) for _ in range(2))
        self._first(program, entry, shallow)
        source = shallow
        for number, (attention, blocks) in enumerate(self._trunk):
            target = deep if number else early
            attention[0](program, source, first, activation=activations.SILU)
            attention[1](program, first, second, activation=activations.SILU)
            attention[2](program, second, target, source, activation=activations.GATED)
            for block in blocks:
                block(program, target, target)
            source = target
        self._after(program, source, last)
        program.linear(joined, second, self._join)
        program.give_back(joined)
        program.give_back(deep)
        return second


class FFDNetSteps(FrameSteps):
    """Steps of MaIR in FFDNet's trunk, at half the image's size.

    Its convolutions stay in float32: they carry the image itself, to which nothing is added at the end.
    """

    def __init__(self, network: MaIRFFDNet, *, pairs: bool) -> None:
        super().__init__(network, pairs=pairs)
        self.shuffled = FOLD

    def _pack_body(self, network: MaIR) -> None:
        self._trunk = [self._ffdnet_group(group) for group in network.layers]

    def _ffdnet_group(self, group: nn.Module) -> tuple[list[_Convolution], list[_Block]]:
        assert isinstance(group, FFDNetGroup)
        convolutions = [_Convolution(self.weights, layer, exact=True) for layer in (group.conv1, group.conv2)]
        return convolutions, [_Block(self.weights, block) for block in group.blocks]

    def _body(self, program: Program, entry: Image) -> Image:
        deep, between = (program.take(entry.height, entry.width, self._width) for _ in range(2))
        self._first(program, entry, deep, activation=activations.LEAKY, slope=0)
        for convolutions, blocks in self._trunk:
            for source, target, convolution in zip((deep, between), (between, deep), convolutions, strict=True):
                convolution(program, source, target, activation=activations.LEAKY, slope=0)
            for block in blocks:
                block(program, deep, deep)
        program.give_back(between)
        return deep


class UNetSteps:
    """Steps of the U-shaped network: from colours (and levels) to what is added to them."""

    shuffled = 1

    def __init__(self, network: MaIRUNet, *, pairs: bool) -> None:
        self.weights = weights = Weights(pairs=pairs)
        self._dim = network.config.dim
        self._first = _Convolution(weights, network.patch_embed.proj, exact=True)
        self._encoders, self._decoders = (
            [[_Block(weights, block) for block in part] for part in parts]
            for parts in (
                (network.encoder_level1, network.encoder_level2, network.encoder_level3, network.latent),
                (network.decoder_level3, network.decoder_level2, [*network.decoder_level1, *network.refinement]),
            )
        )
        self._down, self._up = (
            [_Convolution(weights, layer.body[0]) for layer in layers]
            for layers in (
                (network.down1_2, network.down2_3, network.down3_4),
                (network.up4_3, network.up3_2, network.up2_1),
            )
        )
        self._reduce = [
            weights.linear(to_array(layer.weight)[:, :, 0, 0])
            for layer in (network.reduce_chan_level3, network.reduce_chan_level2)
        ]
        self._last = _Convolution(weights, network.output, exact=True)

    def __call__(self, program: Program, entry: Image) -> Image:
        """Note all steps; the result has 3 channels."""
        x = program.take(entry.height, entry.width, self._dim)
        self._first(program, entry, x)
        encoded = []
        for level, blocks in enumerate(self._encoders):
            for block in blocks:
                block(program, x, x)
            if level < len(self._down):
                encoded.append(x)
                x = self._lower(program, x, self._down[level])
        for level, blocks in enumerate(self._decoders):
            x = self._joined(program, self._higher(program, x, self._up[level]), encoded.pop())
            if level < len(self._reduce):
                reduced = program.take(x.height, x.width, x.channels // 2)
                program.linear(x, reduced, self._reduce[level])
                program.give_back(x)
                x = reduced
            for block in blocks:
                block(program, x, x)
        out = program.take(x.height, x.width, 3)
        self._last(program, x, out)
        return out

    @staticmethod
    def _lower(program: Program, x: Image, convolution: _Convolution) -> Image:
        """Half the channels, then half the size."""
        narrow = program.take(x.height, x.width, x.channels // 2)
        convolution(program, x, narrow)
        small = program.take(x.height // 2, x.width // 2, x.channels * 2)
        program.shuffle(small, narrow, 2, apart=True)
        program.give_back(narrow)
        return small

    @staticmethod
    def _higher(program: Program, x: Image, convolution: _Convolution) -> Image:
        """Twice the channels, then twice the size; x is given back."""
        wide = program.take(x.height, x.width, x.channels * 2)
        convolution(program, x, wide)
        program.give_back(x)
        large = program.take(x.height * 2, x.width * 2, x.channels // 2)
        program.shuffle(wide, large, 2)
        program.give_back(wide)
        return large

    @staticmethod
    def _joined(program: Program, x: Image, encoded: Image) -> Image:
        """Both side by side; both are given back."""
        both = program.take(x.height, x.width, x.channels + encoded.channels)
        program.join(x, encoded, both)
        program.give_back(x)
        program.give_back(encoded)
        return both


NetworkSteps = FrameSteps | UNetSteps
"""Notes the steps of a network in a program, and holds its packed weights."""


def steps_of(network: Network, *, pairs: bool) -> NetworkSteps | None:
    """The steps of a network; None for kinds that have no inference form. See `Weights` for `pairs`."""
    if not has_form(network):
        return None
    if isinstance(network, MaIRUNet):
        return UNetSteps(network, pairs=pairs)
    if isinstance(network, MaIRFFDNet):
        return FFDNetSteps(network, pairs=pairs)
    assert isinstance(network, MaIR)
    return (SpanSteps if isinstance(network, MaIRSPAN) else FrameSteps)(network, pairs=pairs)
