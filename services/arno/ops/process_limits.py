"""How many CPUs, how much memory and how many files this process may use."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Final

_CGROUP: Final = Path("/sys/fs/cgroup")
_MEMINFO: Final = Path("/proc/meminfo")

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


def available_cpus(cpu_max: Path = _CGROUP / "cpu.max") -> int:
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


def available_bytes(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int:
    """Return the smaller of what the machine has free and what a container's limit leaves.

    Source: MemAvailable of Linux's meminfo; memory.max and memory.current of cgroup v2.
    """
    free = _machine_bytes(meminfo)
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        used = int((cgroup / "memory.current").read_text())
    except (OSError, ValueError):
        return free
    return free if limit == "max" else max(0, min(free, int(limit) - used))


def _machine_bytes(meminfo: Path) -> int:
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return int(fields["MemAvailable"].split()[0]) * 1024


def raise_open_files_max(wanted_count: int) -> int:
    """Let this process open so many files, if its hard limit allows it; return how many it may.

    A connection is one. Login shells and service managers start processes with a soft limit of 1024
    or less, kept low for programs that use ``select``, and a hard limit that is far above it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted_count:
        return wanted_count if soft == resource.RLIM_INFINITY else soft
    count = wanted_count if hard == resource.RLIM_INFINITY else min(wanted_count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    return count
