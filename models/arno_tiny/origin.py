"""Where a run takes place: the commit of its code, and the machine."""

from __future__ import annotations

import functools
import os
from typing import Final

from arno.training.source_code import source_commit

_COMMIT_DIGITS: Final = 10


@functools.cache
def commit() -> str:
    """Return the commit of this code as it was at the first call, or "unknown"."""
    return (source_commit() or "unknown")[:_COMMIT_DIGITS]


def machine() -> str:
    """Return what does the work, in words."""
    return f"{os.cpu_count()} {os.uname().machine} cores"
