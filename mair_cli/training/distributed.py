"""Several processes as `torchrun` starts them: who am I, and may we stop?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from mair_cli.errors import TrainingError

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

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether `flag` is true in any process; all must call it at the same step."""
        if self.size == 1:
            return flag
        votes = torch.tensor(float(flag), device=device)
        distributed.all_reduce(votes, op=distributed.ReduceOp.MAX)
        return bool(votes.item())

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """Mean of a scalar tensor over all processes; all must call it at the same step."""
        if self.size == 1:
            return value
        total = value.detach().clone()
        distributed.all_reduce(total)
        return total / self.size


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
    """Wrap a network so that gradients are averaged over all processes; alone, return it as it is."""
    if world.size == 1:
        return network
    return DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)
