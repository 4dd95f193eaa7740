"""The machine's clock, behind the one method that the policies ask for."""

from __future__ import annotations

import time


class SystemClock:
    """Monotonic time of this machine. Any thread."""

    def now_s(self) -> float:
        """Return seconds since an arbitrary moment; never goes back."""
        return time.monotonic()
