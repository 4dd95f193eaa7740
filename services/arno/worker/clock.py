"""Tell the time: wall clock for what crosses processes, monotonic clock for everything else."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Clock:
    """The two clocks of a process.

    Attributes:
        wall_ms: Milliseconds since the Unix epoch; may jump.
        monotonic_s: Seconds on the engine's clock; never goes back.
    """

    wall_ms: Callable[[], int] = _wall_ms
    monotonic_s: Callable[[], float] = time.monotonic

    def monotonic_of(self, wall_ms: int) -> float:
        """Return the monotonic time of a moment of the wall clock, as both clocks stand now."""
        return self.monotonic_s() + (wall_ms - self.wall_ms()) / 1000
