"""Keep freed memory in this process, so that it is used again without a fault for every page.

glibc gives large blocks back to the system as soon as they are freed, and requests them again a
moment later; the kernel then clears them, page by page. With another C library nothing is done.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any, Final

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8

KEPT_BYTES: Final = 512 * 1024**2
"""Free memory at the end of the heap beyond this is given back: a large image's, for example."""


def keep_freed_memory(bytes_max: int = KEPT_BYTES) -> None:
    """Let the process keep what it frees; for all threads that start after this call.

    They share one heap, because those that glibc gives to threads are parts of 64 MiB each, which
    hold no larger block and are given back whenever one is empty.

    Args:
        bytes_max: Most free bytes at the end of the heap that are kept, below 2 GiB.
    """
    mallopt = _function("mallopt")
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, bytes_max)
        mallopt(_M_ARENA_MAX, 1)


def give_freed_memory_back() -> None:
    """Give all pages that hold nothing back to the system, once."""
    trim = _function("malloc_trim")
    if trim is not None:
        trim(ctypes.c_size_t(0))


def _function(name: str) -> Any:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), name, None)
