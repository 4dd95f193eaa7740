"""What a clock is to those who are handed one. The real one is `arno.ops.clock.SystemClock`."""

from typing import Protocol


class Clock(Protocol):
    """Tells monotonic time: good for durations and deadlines within a process, for nothing else."""

    def now_s(self) -> float:
        """Return seconds since some moment that never changes."""
