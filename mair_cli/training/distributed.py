"""Several processes as `torchrun` starts them: who am I, which part of a batch is mine, and do we stop?"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from mair_cli.errors import TrainingError
from mair_cli.networks.blocks import ResidualMambaBlock, StochasticDepth

SECONDS_BETWEEN_VOTES = 1.0

# The first process validates while the others wait for its next gradients.
PATIENCE = timedelta(hours=2)


@dataclass(frozen=True)
class World:
    """The place of this process among all that train together.

    Attributes:
        rank: 0 is the one that measures and writes.
        size: number of processes; 1 when training alone.
        local_rank: place on this machine, which is the number of the GPU to use.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process measures and writes."""
        return self.rank == 0

    @classmethod
    def from_environment(cls) -> World:
        """Read what `torchrun` sets; alone when it set nothing."""
        return cls(*(int(os.environ.get(name, default)) for name, default in _VARIABLES))

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """Mean of a scalar tensor over all processes; all must call it at the same step."""
        if self.size == 1:
            return value
        total = value.detach().clone()
        distributed.all_reduce(total)
        return total / self.size


class StopVote:
    """Lets all processes stop after the same step.

    Asking one another costs a message, and on a GPU waiting for the step to end; so they do it about once a second. How
    many steps that is they agree on with each vote, by the slowest of them: their clocks differ, what they agreed on
    does not.
    """

    def __init__(self, world: World, device: torch.device) -> None:
        self._world, self._device = world, device
        self._steps, self._interval = 0, 1
        self._asked = time.monotonic()

    def stops(self, due: bool) -> bool:
        """Whether to stop now; all processes must call it after every step, `due` being what each wants."""
        if self._world.size == 1:
            return due
        self._steps += 1
        if self._steps < self._interval:
            return False
        pace = (time.monotonic() - self._asked) / self._steps
        votes = torch.tensor([float(due), pace], dtype=torch.float32, device=self._device)
        distributed.all_reduce(votes, op=distributed.ReduceOp.MAX)
        stop, slowest = votes.tolist()
        self._interval = max(1, int(SECONDS_BETWEEN_VOTES / max(slowest, 1e-6)))
        self._steps, self._asked = 0, time.monotonic()
        return bool(stop)


class SharedStochasticDepth(StochasticDepth):
    """Stochastic depth in one of several processes: draws for the whole batch and applies its own slice.

    All processes draw the same from the step's seed, so that each image's branches are dropped as if one process had
    the whole batch.
    """

    def __init__(self, rate: float, world: World) -> None:
        super().__init__(rate)
        self._world = world

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, …), this process's slice, to the same shape."""
        if not self.training or self.rate == 0:
            return x
        share = x.shape[0]
        kept = x.new_empty(share * self._world.size, *[1] * (x.dim() - 1)).bernoulli_(1 - self.rate)
        return x * kept[self._world.rank * share :][:share] / (1 - self.rate)


_VARIABLES = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))


@contextmanager
def joined(world: World, device: torch.device) -> Iterator[None]:
    """Join the other processes while the context lasts: gloo between CPUs, NCCL between GPUs."""
    if world.size == 1:
        yield
        return
    try:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"cannot join the other {world.size - 1} processes: {error}") from error
    try:
        yield
    finally:
        distributed.destroy_process_group()


def spread(network: nn.Module, world: World, device: torch.device) -> nn.Module:
    """Wrap a network so that all processes together train it as one would; alone, return it as it is.

    Gradients are averaged over them, and stochastic depth drops what it would in one.
    """
    if world.size == 1:
        return network
    for module in list(network.modules()):
        if isinstance(module, ResidualMambaBlock):
            module.drop_path = SharedStochasticDepth(module.drop_path.rate, world)
    return DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)
