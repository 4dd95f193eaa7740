"""How many CPUs this process may keep busy, and how its threads share the interpreter."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")

_SWITCH_S: Final = 0.0005
"""Python's default is 5 ms: longer than a decode step of a GPU, and than all the work of a gateway
for a small call."""


def share_interpreter() -> None:
    """Let a thread that waits for the interpreter's lock have it within half a millisecond.

    A thread gives the lock up whenever it waits for a device or a socket, and queues for it
    afterwards. With Python's default the engine's thread, or a gateway's event loop, waits 5 ms
    each time while another thread looks through an image of 16 MiB.
    """
    sys.setswitchinterval(_SWITCH_S)


def available_cpus(cpu_max: Path = _CPU_MAX) -> int:
    """Return the smaller of the CPUs that it may run on and what a container's quota pays for.

    At least 1. Source: the scheduling affinity, and cpu.max of cgroup v2 (quota and period, in
    microseconds; a quota of "max" is none).
    """
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = cpu_max.read_text().split()
        paid = allowed if quota == "max" else round(int(quota) / int(period))
    except (OSError, ValueError):
        return allowed
    return max(1, min(allowed, paid))
