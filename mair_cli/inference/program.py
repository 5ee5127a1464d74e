"""Programs for `running.run`: what each step's numbers mean, and where its weights and images lie.

Weights are packed once for a network (`Weights`); steps and places follow from the size of the image (`Program`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mair_cli.inference import activations, kernels, winograd
from mair_cli.inference.pairs import Words
from mair_cli.inference.tile import Floats, pack, padded
from mair_cli.scan.cpu.kernels import CHUNK
from mair_cli.scan.cpu.simd import LANES
from mair_cli.scan.orders import DIRECTIONS

_FIELDS: Final = 20


def to_array(tensor: Tensor) -> Floats:
    """A parameter as float32."""
    out: Floats = tensor.detach().float().numpy()
    return out


class Weights:
    """Packed weights of a network; parts are known by the place at which they begin.

    Args:
        pairs: products are made of pairs of bfloat16 instead of float32.
    """

    def __init__(self, *, pairs: bool = False) -> None:
        self.pairs = pairs
        self._parts: list[Floats] = []
        self._length = 0

    def add(self, part: Floats) -> int:
        """Append; returns the place."""
        place = self._length
        self._parts.append(part.astype(np.float32, copy=False).ravel())
        self._length += part.size
        return place

    def rows(self, *tables: Floats) -> int:
        """Append tables (…, N), their rows filled with zeros to whole vectors; returns the place of the first."""
        width = padded(tables[0].shape[-1])
        parts = [table.reshape(-1, table.shape[-1]) for table in tables]
        return self.add(np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[-1]))) for part in parts]))

    def linear(self, weight: Floats, bias: Floats | None = None) -> int:
        """Of a linear layer: (N, K) and (N,)."""
        return self.add(pack(weight, bias, pairs=self.pairs))

    def arrays(self) -> tuple[Floats, Words]:
        """All of them, for what is float32; and once more, for linear layers: the same, or seen as words of pairs."""
        words = np.concatenate(self._parts)
        return words, words.view(np.uint32) if self.pairs else words


class Image(NamedTuple):
    """Where an image lies: pixel p at place + p · ld, `channels` of `ld` numbers used."""

    place: int
    height: int
    width: int
    channels: int
    ld: int

    @property
    def pixels(self) -> int:
        """How many it has."""
        return self.height * self.width


class Program:
    """Steps for one size of image, put together one after the other.

    Images are taken and given back while the steps are noted, so that memory serves again once nothing needs it.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._steps: list[list[int]] = []
        self._free: list[tuple[int, int]] = []
        self._orders: dict[int, tuple[int, NDArray[np.int32]]] = {}
        self._share = 0
        self.size = 0
        """Floats of all images."""

    def take(self, height: int, width: int, channels: int) -> Image:
        """Room for an image, with rows of whole vectors."""
        ld = padded(channels)
        return Image(self._allocate(height * width * ld), height, width, channels, ld)

    def give_back(self, image: Image) -> None:
        """Let later images lie where this one does."""
        self._release(image.place, image.pixels * image.ld)

    def _allocate(self, size: int) -> int:
        for number, (place, room) in enumerate(self._free):
            if room >= size:
                self._free[number] = (place + size, room - size)
                return place
        place = self.size
        if self._free and sum(self._free[-1]) == place:  # grows by what is missing
            place, _ = self._free.pop()
        self.size = place + size
        return place

    def _release(self, place: int, size: int) -> None:
        merged: list[tuple[int, int]] = []
        for start, room in sorted([*self._free, (place, size)]):
            if merged and sum(merged[-1]) == start:
                merged[-1] = (merged[-1][0], merged[-1][1] + room)
            elif room:
                merged.append((start, room))
        self._free = merged

    def _add(self, kind: int, jobs: int, *numbers: int, scratch: int = 0) -> None:
        self._steps.append([kind, jobs, *numbers, *[0] * (_FIELDS - 2 - len(numbers))])
        self._share = max(self._share, padded(scratch))

    def order(self, order: NDArray[np.int32]) -> int:
        """Place of a scan order (K, L): blocks that are walked alike share one array, and one place."""
        end = sum(known.size for _, known in self._orders.values())
        place, _ = self._orders.setdefault(id(order), (end, order))
        return place

    def linear(
        self,
        source: Image,
        target: Image,
        weights: int,
        *,
        normalised: bool = False,
        activation: int = activations.NOTHING,
        first: int = 0,
    ) -> None:
        """Each pixel through a linear layer; normalised before; channels from `first` on activated after."""
        self._add(
            kernels.LINEAR, _chunks(source), source.pixels, source.place, source.ld, int(normalised), weights,
            source.channels, padded(target.channels) // LANES, target.place, target.ld, activation, first,
            scratch=kernels.ROWS * padded(source.channels),
        )  # fmt: skip

    def spread(self, source: Image, taps: int, weights: int, u: Image, projections: Image) -> None:
        """Depthwise convolution, SiLU and the scan's projections."""
        self._add(
            kernels.SPREAD, source.height, source.height, source.width, source.place, source.ld, u.channels, taps,
            weights, projections.ld // LANES, u.place, projections.place, projections.ld,
            scratch=kernels.ROWS * u.ld,
        )  # fmt: skip

    def scan(
        self, u: Image, projections: Image, rank: int, states: int, parameters: int, order: int, y: Image, pooled: int
    ) -> None:
        """The selective scan in all directions, and its means over the image."""
        width = padded(u.channels)
        wanted = -(-self._threads // DIRECTIONS)
        chunk = min(padded(-(-width // wanted)), CHUNK)
        chunks = -(-width // chunk)
        self._add(
            kernels.SCAN, DIRECTIONS * chunks, u.pixels, u.channels, rank, states, u.place, projections.place,
            projections.ld, parameters, order, y.place, pooled, chunk, chunks,
        )  # fmt: skip

    def merge(self, y: Image, pooled: int, gating: Image, x: Image, target: Image, layers: MergeWeights) -> None:
        """From the scan's directions to the end of the block; `x` is what the block was given."""
        D, C, H = padded(layers.inner), padded(x.channels), padded(layers.hidden)
        self._add(
            kernels.MERGE, _chunks(x), x.pixels, layers.inner, y.place, pooled, layers.gate, layers.affine,
            gating.place, gating.ld, layers.out, x.channels, x.place, x.ld, layers.skip1, layers.fc1, layers.hidden,
            layers.fc2, layers.skip2, target.place,
            scratch=DIRECTIONS * D + kernels.ROWS * (D + 3 * C + H),
        )  # fmt: skip

    def norm(self, source: Image, target: Image, affine: int) -> None:
        """Layer norm."""
        self._add(
            kernels.NORM, _chunks(source), source.pixels, source.place, source.ld, source.channels, affine,
            target.place, target.ld,
        )  # fmt: skip

    def convolve(
        self,
        source: Image,
        target: Image,
        weights: int,
        residual: Image | None = None,
        *,
        activation: int = activations.NOTHING,
        slope: float = activations.SLOPE,
        pairs: bool = False,
    ) -> None:
        """3×3 convolution, with a residual added and then activated; `pairs`: so are its weights packed."""
        patches = -(-source.height // winograd.OUT) * -(-source.width // winograd.OUT)
        place, ld = (residual.place, residual.ld) if residual is not None else (kernels.NONE, 0)
        self._add(
            kernels.CONVOLVE, -(-patches // winograd.TILES), source.height, source.width, source.place, source.ld,
            source.channels, weights, padded(target.channels) // LANES, target.place, target.ld, place, ld, activation,
            round(slope / kernels.SLOPE_UNIT), int(not pairs),
            scratch=winograd.scratch_size(padded(source.channels), padded(target.channels)),
        )  # fmt: skip

    def shuffle(self, small: Image, large: Image, factor: int, *, apart: bool = False) -> None:
        """Pixel shuffle from the small to the large image; `apart` the way back."""
        kind = kernels.UNSHUFFLE if apart else kernels.SHUFFLE
        self._add(
            kind, small.height, small.height, small.width, small.place, small.ld, large.channels, factor, large.place,
            large.ld,
        )  # fmt: skip

    def join(self, first: Image, second: Image, target: Image) -> None:
        """Channels of two images one after the other."""
        self._add(
            kernels.JOIN, _chunks(first), first.pixels, first.place, first.ld, first.channels, second.place, second.ld,
            second.channels, target.place, target.ld,
        )  # fmt: skip

    def finish(self) -> Finished:
        """All that `running.run` takes but weights."""
        orders = np.concatenate([order.ravel() for _, order in self._orders.values()])
        steps = np.array(self._steps, np.int64)
        return Finished(steps, frozenset(steps[:, 0].tolist()), orders, self.size, self._share)


class MergeWeights(NamedTuple):
    """Places of the weights of a block's second half; D and hidden are its widths."""

    inner: int
    hidden: int
    gate: int
    affine: int
    out: int
    skip1: int
    fc1: int
    fc2: int
    skip2: int


class Finished(NamedTuple):
    """A program: steps, their kinds, the scan orders they name, floats of all images, scratch floats of a thread."""

    steps: NDArray[np.int64]
    kinds: frozenset[int]
    orders: NDArray[np.int32]
    size: int
    share: int


def _chunks(image: Image) -> int:
    return -(-image.pixels // kernels.ROWS)
