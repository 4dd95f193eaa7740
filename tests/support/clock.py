"""A clock that stands still until a test turns it."""

from __future__ import annotations


class ManualClock:
    """A monotonic clock moved by hand; pass its method `now_s` where a clock is taken."""

    def __init__(self, start_s: float = 1000.0) -> None:
        self._now_s = start_s

    def now_s(self) -> float:
        return self._now_s

    def advance(self, duration_s: float) -> None:
        if duration_s < 0:
            raise ValueError("a monotonic clock never goes back")
        self._now_s += duration_s
