"""A clock that stands still until a test advances it."""

from __future__ import annotations

from arno.ops.clock import Clock


class ManualClock(Clock):
    """`arno.ops.clock.Clock`, advanced by hand: both of its clocks move together."""

    def __init__(self, start_s: float = 1000.0, *, wall_ms: int = 1_700_000_000_000) -> None:
        self._now_s = start_s
        self._wall_ms = wall_ms

    def monotonic_s(self) -> float:
        return self._now_s

    def wall_ms(self) -> int:
        return self._wall_ms

    def advance(self, duration_s: float) -> None:
        if duration_s < 0:
            raise ValueError("a monotonic clock never goes back")
        self._now_s += duration_s
        self._wall_ms += round(duration_s * 1000)
