"""Where a run takes place: the commit of its code, and the machine."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path


@functools.cache
def commit() -> str:
    """Return the commit of this code as it was at the first call, or "unknown"."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=10", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


def machine() -> str:
    """Return what does the work, in words."""
    return f"{os.cpu_count()} {os.uname().machine} cores"
