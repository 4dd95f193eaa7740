"""A sequence that waits, as the scheduler sees it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """Satisfies `arno.batching.Schedulable`."""

    name: str
    lane: str = "interactive"
    tenant: str = "t"
    arrived_s: float = 0.0
    cost: float = 1.0
    size: float = 0.0
