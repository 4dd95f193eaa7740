"""The processes of a run, one a device: how they find each other, agree and average gradients.

`torchrun` starts them and sets their ranks in the environment; `run_processes` starts them on the
CPUs of this machine. Without either there is one process.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from arno.errors import ConfigurationError
from arno.ops.freed_memory import keep_freed_memory

ValueT = TypeVar("ValueT")

_KEPT_BYTES: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """This process's place among all of a run; rank 0 leads: it writes files and logs.

    Attributes:
        rank: Place among all processes, from 0.
        local_rank: Place among the processes of this machine: the number of its GPU.
        size: Number of processes.
    """

    rank: int = 0
    local_rank: int = 0
    size: int = 1

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> ProcessGroup:
        """Read the place from the variables that `torchrun` sets.

        Raises:
            ConfigurationError: They are incomplete or not numbers.
        """
        if "WORLD_SIZE" not in environment:
            return cls()
        try:
            rank, local_rank, size = (
                int(environment[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")
            )
        except (KeyError, ValueError) as fault:
            raise ConfigurationError(f"RANK, LOCAL_RANK, WORLD_SIZE: {fault}") from fault
        return cls(rank, local_rank, size)

    @property
    def leads(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0

    def share(self, positions: range) -> range:
        """Return this process's part of the positions: every `size`-th, from its rank on."""
        return positions[self.rank :: self.size]

    def init(self, device: torch.device, rendezvous: Path | None = None) -> None:
        """Connect to the other processes.

        Args:
            device: Decides the transport: NCCL between GPUs, gloo between CPUs.
            rendezvous: A file that does not exist yet; None reads the address from the environment.
        """
        if self.size == 1:
            return
        distributed.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            init_method=f"file://{rendezvous.resolve()}" if rendezvous else None,
            rank=self.rank,
            world_size=self.size,
        )

    def destroy(self) -> None:
        """Disconnect from the other processes. Idempotent."""
        if self.size > 1 and distributed.is_initialized():
            distributed.destroy_process_group()

    def barrier(self) -> None:
        """Return once all processes have called this."""
        if self.size > 1:
            distributed.barrier()

    def all_gather(self, value: ValueT) -> list[ValueT]:
        """Return the values of all processes by rank; for small values that can be pickled."""
        if self.size == 1:
            return [value]
        gathered: list[ValueT] = [value] * self.size
        distributed.all_gather_object(gathered, value)
        return gathered

    def all_sum(self, values: torch.Tensor) -> torch.Tensor:
        """Replace the values by their sum over all processes, and return them."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def data_parallel(self, network: Any, device: torch.device, *, partly_used: bool) -> Any:
        """Return the network so wrapped that a backward pass averages gradients over all processes.

        Args:
            network: The module; returned as it is where there is one process.
            device: The device of its weights.
            partly_used: Whether a forward pass may leave out some of the weights.
        """
        if self.size == 1:
            return network
        # Depthwise weights have a dimension of 1, of which any stride is right: no cause to warn.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        with warnings.catch_warnings():
            # Its successor is not in every version of torch that Arno takes.
            warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
            return DistributedDataParallel(
                network,
                device_ids=[device.index] if device.type == "cuda" else None,
                broadcast_buffers=False,
                find_unused_parameters=partly_used,
            )


def unsynchronised(network: nn.Module) -> Any:
    """Return a block in which backward passes add up gradients without averaging them."""
    if not isinstance(network, DistributedDataParallel):
        raise TypeError("only the gradients of several processes are averaged")
    return network.no_sync()


def run_processes(size: int, work: Callable[..., object], *arguments: object) -> None:
    """Call `work(group, *arguments)` in connected processes of one thread each, and wait for them.

    On a busy machine they are far faster than one process with as many threads: threads wait for
    each other about a thousand times a step, processes once.
    """
    with tempfile.TemporaryDirectory() as scratch:
        rendezvous = Path(scratch) / "rendezvous"
        spawn(  # type: ignore[no-untyped-call]  # torch leaves it untyped
            _member, args=(size, rendezvous, work, arguments), nprocs=size
        )


def _member(
    rank: int,
    size: int,
    rendezvous: Path,
    work: Callable[..., object],
    arguments: tuple[object, ...],
) -> None:
    torch.set_num_threads(1)
    keep_freed_memory(_KEPT_BYTES)  # faults of pages are a tenth of a step on two cores
    group = ProcessGroup(rank, rank, size)
    group.init(torch.device("cpu"), rendezvous)
    try:
        work(group, *arguments)
    finally:
        group.destroy()
