"""What a selective scan takes, bundled and checked once.

Glossary (Gu and Dao, "Mamba", 2023; Li et al., "MaIR", CVPR 2025):
    B, L     images in the batch; positions, L = height · width
    K        scan directions (4)
    D        inner channels
    N        state size: each channel of each direction carries N numbers along its way
    R        rank of the step-size projection
    u        input of the scan, (B, L, D), pixels in image order
    r, b, c  per pixel and direction: low-rank step size, input gate B and output gate C of the state space; here
             they arrive side by side in `projections`, (B, L, K, R + N + N)
    Δ        step size, softplus(dt_weight · r + dt_bias)
    A        decay rates, negative
    h        state: h ← exp(Δ·A)·h + Δ·b·u
    skip     Mamba's D: y = c·h + skip·u

Pixels stay in image order throughout. A back end gets only the `order` in which to visit them, reads row order[l] and
writes row order[l], so that no reordered copy of the image is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class ScanInputs:
    """The tensors of one scan, all on one device; iterating gives them in this order.

    Attributes:
        u: (B, L, D) inputs, pixels in image order.
        projections: (B, L, K, R + 2N): for each pixel and direction the low-rank step size, B and C.
        dt_weight: (K, D, R) step-size projection.
        dt_bias: (K, D) its bias.
        A: (K, D, N) decay rates, negative.
        skip: (K, D) weight of the input in the output.
        order: (K, L) int32: row k lists the pixels 0 … L - 1 as direction k visits them.
    """

    u: Tensor
    projections: Tensor
    dt_weight: Tensor
    dt_bias: Tensor
    A: Tensor
    skip: Tensor
    order: Tensor

    def __post_init__(self) -> None:
        """Raises ValueError naming the first tensor whose shape does not fit the others."""
        if self.u.dim() != 3 or self.dt_weight.dim() != 3 or self.A.dim() != 3:
            raise ValueError("A scan takes u (B, L, D), dt_weight (K, D, R) and A (K, D, N): three axes each.")
        batch, length, channels = self.u.shape
        directions, _, rank = self.dt_weight.shape
        states = self.A.shape[2]
        expected = (
            ("projections", self.projections, (batch, length, directions, rank + 2 * states)),
            ("dt_weight", self.dt_weight, (directions, channels, rank)),
            ("dt_bias", self.dt_bias, (directions, channels)),
            ("A", self.A, (directions, channels, states)),
            ("skip", self.skip, (directions, channels)),
            ("order", self.order, (directions, length)),
        )
        for name, tensor, shape in expected:
            if tensor.shape != shape:
                raise ValueError(f"{name} of a scan has the shape {tuple(tensor.shape)}, not {shape}.")

    def __iter__(self) -> Iterator[Tensor]:
        yield from (self.u, self.projections, self.dt_weight, self.dt_bias, self.A, self.skip, self.order)

    def to(self, device: torch.device) -> ScanInputs:
        """The same on another device, gradients flowing back; itself where it is there already."""
        return self if self.u.device == device else ScanInputs(*(tensor.to(device) for tensor in self))

    @property
    def rank(self) -> int:
        """R."""
        return self.dt_weight.shape[2]

    @property
    def states(self) -> int:
        """N."""
        return self.A.shape[2]

    @property
    def needs_gradient(self) -> bool:
        """Whether anything will be asked of the way back: parameters require gradients under `no_grad` too."""
        return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in self)


class Gate(NamedTuple):
    """Sequence shuffle attention's 1×1 convolution with D groups: group d maps directions to directions.

    Attributes:
        weight: (D · K, K, 1, 1).
        bias: (D · K,).
    """

    weight: Tensor
    bias: Tensor

    def to(self, device: torch.device) -> Gate:
        """The same on another device."""
        return Gate(self.weight.to(device), self.bias.to(device))

    @property
    def needs_gradient(self) -> bool:
        """As for `ScanInputs`."""
        return torch.is_grad_enabled() and (self.weight.requires_grad or self.bias.requires_grad)
