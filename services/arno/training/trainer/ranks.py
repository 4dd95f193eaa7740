"""The processes of a run, one a device: how they meet, agree and average their gradients.

`torchrun` starts them and tells each its place; without it there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import distributed

from arno.errors import ConfigurationError

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process's place among all of a run; rank 0 leads and writes.

    Attributes:
        rank: Of all processes.
        local_rank: Of those of this machine: the number of its GPU.
        count: All processes.
    """

    rank: int = 0
    local_rank: int = 0
    count: int = 1

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Ranks:
        """Read the place from what `torchrun` sets.

        Raises:
            ConfigurationError: It set something else than numbers.
        """
        if "WORLD_SIZE" not in environment:
            return cls()
        try:
            rank, local, count = (
                int(environment[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")
            )
        except (KeyError, ValueError) as fault:
            raise ConfigurationError(f"RANK, LOCAL_RANK, WORLD_SIZE: {fault}") from fault
        return cls(rank, local, count)

    @property
    def leads(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def share(self, total: int) -> int:
        """Return how many of a step's samples are this process's."""
        return len(range(self.rank, total, self.count))

    def meet(self, device: torch.device) -> None:
        """Wait for the other processes; torch reads where from the environment."""
        if self.count > 1:
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")

    def part(self) -> None:
        """Let go of the other processes. Idempotent."""
        if self.count > 1 and distributed.is_initialized():
            distributed.destroy_process_group()

    def wait(self) -> None:
        """Return when all processes have come here."""
        if self.count > 1:
            distributed.barrier()

    def gather(self, value: Found) -> list[Found]:
        """Return every process's value, by rank; small and picklable ones."""
        if self.count == 1:
            return [value]
        found: list[Found | None] = [None] * self.count
        distributed.all_gather_object(found, value)
        return [one for one in found if one is not None]

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of the values over all processes."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values
