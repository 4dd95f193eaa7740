"""Measure what this machine can do at best: operations and bytes a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from arno.engine.layers.linear import Linear
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True, slots=True)
class Reach:
    """What the machine reaches on plain work.

    Attributes:
        flops_per_s: In products of square matrices, multiply-add counted as 2; by the quicker of
            two libraries.
        bytes_per_s: Reading memory that no cache holds.
    """

    flops_per_s: float
    bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Work:
    """What a stage cannot do without.

    Attributes:
        flops: Operations.
        bytes: Weights and caches that have to be read.
    """

    flops: float
    bytes: float

    def floor_s(self, reach: Reach) -> float:
        """Return the least time for it: the longer of the two."""
        return max(self.flops / reach.flops_per_s, self.bytes / reach.bytes_per_s)


def measure_reach(device: torch.device, dtype: torch.dtype, *, small: bool = False) -> Reach:
    """Measure a machine; small is for trying a script out."""
    side = 256 if small else (2048 if device.type == "cpu" else 8192)
    a = torch.randn(side, side, device=device, dtype=dtype)
    in_blocks = Linear(a, None)  # on a CPU another library than torch.mm, and not always slower
    with torch.inference_mode():
        product_s = min(
            *times_s(lambda: torch.mm(a, a), 5, device), *times_s(lambda: in_blocks(a), 5, device)
        )
    length = (1 << 20) if small else (1 << 27)
    big = torch.ones(length, device=device, dtype=torch.float32)
    read_s = min(times_s(big.sum, 5, device))
    return Reach(2 * side**3 / product_s, big.nbytes / read_s)


def times_s(call: Callable[[], Any], count: int, device: torch.device) -> list[float]:
    """Return how long a call takes, each time, after one that does not count."""
    call()
    found = []
    for _ in range(count):
        synchronise(device)
        began_s = time.perf_counter()
        call()
        synchronise(device)
        found.append(time.perf_counter() - began_s)
    return found


def median_s(call: Callable[[], Any], count: int, device: torch.device) -> float:
    """Return how long a call usually takes."""
    return median(times_s(call, count, device))


def synchronise(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def count_flops(call: Callable[[], Any]) -> float:
    """Return the operations of a call, by torch's counter, multiply-add counted as 2."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


def weight_bytes(*modules: torch.nn.Module) -> int:
    """Return the memory of the weights of modules, each counted once."""
    weights = {id(w): w for module in modules for w in module.parameters()}
    return sum(weight.nbytes for weight in weights.values())
