"""How many CPUs this process may keep busy."""

from __future__ import annotations

import os
from pathlib import Path

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


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
