"""Settings of the process that make training on a shared processor faster."""

from __future__ import annotations

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def be_considerate() -> None:
    """Make OpenMP threads sleep while they wait for each other; must come before torch is imported.

    On a busy machine a spinning thread only takes the processor away from the thread that it waits for: half of the time of a
    training run was spent so.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def keep_freed_memory() -> None:
    """Stop glibc from returning large blocks to the system after each step, only to ask for them again.

    The page faults cost about a tenth of a training step on two cores. Does nothing where the C library is another.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
