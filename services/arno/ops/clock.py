"""The time of this machine, injected as one object so that a test can set it by hand.

Wall-clock time is for what crosses processes; monotonic time is for everything else.
"""

from __future__ import annotations

import time
from typing import Final


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


SYSTEM_CLOCK: Final = Clock()
"""The default where a clock is injected."""
