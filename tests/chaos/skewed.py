"""Run a module whose wall clock is wrong: ``python -m chaos.skewed FILE MODULE [ARGUMENT...]``.

FILE holds the seconds by which the clock is ahead; it may change while the process runs. Monotonic
time is left alone, as when an administrator or NTP sets a clock. libfaketime cannot do that: with
monotonic time left alone, version 0.9.10 makes Python's ``time.sleep`` fail with EINVAL.

Only ``time.time_ns`` is skewed, which is what Arno reads. gRPC compares ``time.time`` in Python
with deadlines that its C core made of the real clock; on a machine whose clock is wrong, both are
wrong by the same amount.
"""

from __future__ import annotations

import runpy
import sys
import time
from pathlib import Path
from typing import Final

_LOOK_S: Final = 0.2


class SkewedClock:
    """A wall clock that is ahead by what a file says. Any thread."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._time_ns = time.time_ns
        self._looked_s = float("-inf")
        self._ahead_s = 0.0

    def time_ns(self) -> int:
        """Stand in for ``time.time_ns``."""
        return self._time_ns() + int(self._ahead() * 1e9)

    def _ahead(self) -> float:
        now_s = time.monotonic()
        if now_s - self._looked_s > _LOOK_S:
            self._looked_s = now_s
            # The writer replaces the file in one piece; one that is missing changes nothing.
            if self._file.exists():
                self._ahead_s = float(self._file.read_text() or 0.0)
        return self._ahead_s


def install(clock: SkewedClock) -> None:
    """Make this process read the skewed clock as ``time.time_ns``."""
    time.time_ns = clock.time_ns


def set_ahead(file: Path, ahead_s: float) -> None:
    """Set how far the clock of the process with this file is ahead."""
    fresh = file.with_suffix(".new")
    fresh.write_text(str(ahead_s))
    fresh.replace(file)


if __name__ == "__main__":
    install(SkewedClock(Path(sys.argv[1])))
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
