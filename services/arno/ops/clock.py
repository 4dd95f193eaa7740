"""The time of this machine, injected as one object so that a test can set it by hand.

Wall-clock time is for what crosses processes; monotonic time is for everything else.
"""

from __future__ import annotations

import time
from typing import Final

_READING_S_MAX: Final = 0.5
"""A reading of the store's clock that took longer is off by up to half of that."""


class Clock:
    """The two clocks of a process. Any thread. `support.clock.ManualClock` replaces it in tests."""

    def monotonic_s(self) -> float:
        """Return seconds since an arbitrary moment; never goes back."""
        return time.monotonic()

    def wall_ms(self) -> int:
        """Return milliseconds since the Unix epoch; may jump."""
        return time.time_ns() // 1_000_000

    def monotonic_of(self, wall_ms: int) -> float:
        """Return the monotonic time of a wall-clock moment, as both clocks stand now."""
        return self.monotonic_s() + (wall_ms - self.wall_ms()) / 1000


class StoreClock(Clock):
    """A clock whose wall time is that of the result store, which all processes share. Any thread.

    A process whose own wall clock is wrong, or is set while it runs, then neither expires a job
    early nor gives it more time than others do. Until the first reading it is the machine's time.
    """

    def __init__(self) -> None:
        """Begin with the machine's time."""
        self._reading: tuple[float, int] | None = None

    def wall_ms(self) -> int:
        """Return the store's milliseconds since the Unix epoch, as far as they are known."""
        reading = self._reading
        if reading is None:
            return super().wall_ms()
        read_s, store_ms = reading
        return store_ms + round((self.monotonic_s() - read_s) * 1000)

    def follow(self, store_ms: int, *, asked_s: float) -> None:
        """Take a reading of the store's clock that has just arrived.

        Args:
            store_ms: What the store answered.
            asked_s: When it was asked, on the monotonic clock: the reading is taken for the middle
                of the time since, and one that took long is left out where there is a better one.
        """
        took_s = self.monotonic_s() - asked_s
        if self._reading is None or took_s < _READING_S_MAX:
            self._reading = (asked_s + took_s / 2, store_ms)


SYSTEM_CLOCK: Final = Clock()
"""The default where a clock is injected."""
