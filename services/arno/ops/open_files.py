"""How many files this process may have open; a connection is one.

Stands alone: a property of the operating system, not of the gateway.
"""

from __future__ import annotations

import resource


def raise_open_files_max(wanted_count: int) -> int:
    """Let this process open so many files, if its hard limit allows it; return how many it may.

    Login shells and service managers start processes with a soft limit of 1024 or less, kept low
    for programs that use ``select``, and a hard limit that is far above it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted_count:
        return wanted_count if soft == resource.RLIM_INFINITY else soft
    count = wanted_count if hard == resource.RLIM_INFINITY else min(wanted_count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    return count
