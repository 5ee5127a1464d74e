"""What every network of ours tells about itself, and how a checkpoint of it is recognised."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn

from mair_cli.networks.blocks import PrimitiveModule
from mair_cli.networks.levels import Level, known_levels
from mair_cli.networks.settings import NetworkConfig

StateDict = Mapping[str, Tensor]

_FLOAT_BYTES: Final = 4
_SCRATCH: Final = 1.5
"""What allocators and convolutions keep besides; with it, measured peaks on a CPU are 0.58 to 0.81 of the estimate."""
_PAPER_RESULT: Final = (1280, 720)  # papers count super-resolution for a result of this size,
_PAPER_INPUT: Final = (256, 256)  # and all else for an input of this one
_PROBE: Final = 16
"""Side of the image on which multiply-adds are counted: a multiple of every network's sizes."""


class Network(nn.Module):
    """Restores (B, 3, H, W) float RGB in [0, 1] to (B, 3, H · scale, W · scale).

    Attributes:
        config: its settings.
        scale: output side over input side.
    """

    size_multiple: ClassVar[int] = 1
    """Image sides that are multiples of this need no padding inside."""
    config_type: ClassVar[type[NetworkConfig]]
    """Class of its settings."""
    side_on_cpu: ClassVar[int] = 160
    """Side of the tiles that a CPU restores best, input pixels: time per pixel is flat from 64 to 200, then rises."""
    scans_stripes: ClassVar[bool] = True
    """Whether its settings have a stripe width, the one setting that parameters do not show."""
    constants: ClassVar[frozenset[str]] = frozenset()
    """Entries of published checkpoints that follow from the settings: they are left out."""
    config: NetworkConfig
    scale: int

    def entry(
        self, image: Tensor, noise_level: Level | None = None, jpeg_level: Level | None = None
    ) -> tuple[Tensor, Tensor]:
        """What the first convolution sees, (B, colours + levels, H, W) or folded, and the colours; as for `forward`."""
        raise NotImplementedError

    def exit(self, colours: Tensor, x: Tensor) -> Tensor:
        """From what the last layer gives, (B, 3, H · scale, W · scale), to the result; `x` are `entry`'s colours."""
        raise NotImplementedError

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels that `forward` takes, of `noise_level` and `jpeg_level`."""
        return self.config.levels

    @property
    def stripe(self) -> int | None:
        """Stripe width of the scan in pixels; None where it has none."""
        return None

    @property
    def align(self) -> int:
        """Tile borders at multiples of this cut the image as the whole would be cut."""
        # Two stripes: neighbouring ones are walked in opposite directions.
        return max(2 * (self.stripe or 0), self.size_multiple)

    @property
    def memory_per_pixel(self) -> int:
        """Bytes of activations per input pixel at the peak of restoring, in float32; an estimate from the settings."""
        at_once = 3 // self.config.colors  # gray networks take the channels of an image as images of their own
        return int(at_once * self._values_per_pixel() * _FLOAT_BYTES * _SCRATCH)

    def _values_per_pixel(self) -> int:
        """Numbers alive per input pixel at the busiest moment."""
        raise NotImplementedError

    def multiply_adds_per_pixel(self) -> float:
        """Multiply-adds per input pixel as papers count them, counted while the network runs once on a small image.

        One per weight and position in matrix products and convolutions; in the scan 9·N for the state and 1 for the
        skip, per inner channel, position and direction. Activations, norms and sums are left out; network.md, 9.
        """
        total = 0

        def count(module: nn.Module, _: object, output: Tensor) -> None:
            nonlocal total
            if isinstance(module, nn.Linear):
                total += output.numel() * module.in_features
            elif isinstance(module, nn.Conv2d):
                total += output.numel() * module.weight[0].numel()
            elif isinstance(module, PrimitiveModule):
                total += output[..., 0].numel() * module.own_multiply_adds

        hooks: list[Any] = [module.register_forward_hook(count) for module in self.modules()]
        image = torch.zeros(1, self.config.colors, _PROBE, _PROBE, device=next(self.parameters()).device)
        try:
            with torch.inference_mode():
                self(image, **known_levels(self.config, 0.0, 0.0))
        finally:
            for hook in hooks:
                hook.remove()
        return total / _PROBE**2

    def multiply_adds(self) -> tuple[float, str]:
        """`multiply_adds_per_pixel` for the size that papers use, and that size in words."""
        enlarges = self.scale > 1
        width, height = _PAPER_RESULT if enlarges else _PAPER_INPUT
        words = f"{width}×{height} {'result' if enlarges else 'input'}"
        return self.multiply_adds_per_pixel() * width * height / self.scale**2, words

    @classmethod
    def recognises(cls, state: StateDict) -> bool:
        """Whether parameters, by name, are those of a network of this kind."""
        raise NotImplementedError

    @classmethod
    def infer_settings(cls, state: StateDict) -> dict[str, object]:
        """Settings that give a network with exactly these parameter names and shapes; all but the stripe width.

        Raises KeyError or another LookupError, ValueError or ZeroDivisionError where parameters are missing or odd.
        """
        raise NotImplementedError

    @classmethod
    def published_stripe(cls, settings: Mapping[str, object]) -> int | None:
        """Stripe width of the published network with these settings (network.md, 7); None where there is none."""
        return None


def shortest_ratio(*layers: tuple[int, int]) -> float:
    """The shortest decimal whose product with each width, cut to an integer, is the hidden width beside it.

    Args:
        layers: hidden width and width, of as many layers as share the ratio.
    """
    least = max(hidden / width for hidden, width in layers)
    for digits in range(1, 7):
        ratio = float(math.ceil(least * 10**digits) / 10**digits)
        if all(int(ratio * width) == hidden for hidden, width in layers):
            return ratio
    hidden, width = layers[-1]
    return (hidden + 0.5) / width


def count_numbered(state: StateDict, pattern: str, step: int = 1) -> int:
    """How many of pattern.format(0), pattern.format(step) … the state has a parameter of, in a row from 0."""
    before, _, after = pattern.partition("{}")
    found = {name.removeprefix(before).partition(after)[0] for name in state if name.startswith(before)}
    number = 0
    while str(number * step) in found:
        number += 1
    return number


def infer_levels(input_channels: int, colors: int = 3) -> dict[str, object]:
    """Input channels after the colours are levels; a single one is taken for the noise level, which came first."""
    return {"noise_level_map": input_channels > colors, "jpeg_level_map": input_channels > colors + 1}
