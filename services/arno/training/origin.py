"""Where a result was made: the commit of Arno's source, and the processor."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path
from typing import Final

_GIT_TIMEOUT_S: Final = 10.0


def source_commit() -> str | None:
    """Return the commit of this code, followed by "+" if files have changed since; None if unknown.

    It is unknown without git, and where git does not track this file: an installed copy may lie
    inside another repository.
    """
    here = Path(__file__)
    if _git(here, "ls-files", "--error-unmatch", here.name) is None:
        return None
    head = _git(here, "rev-parse", "HEAD")
    changes = _git(here, "status", "--porcelain", "--untracked-files=no")
    return f"{head}+" if head and changes else head


def processor_name() -> str:
    """Return the name of the processor, or its kind where the system does not know a name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _git(file: Path, *words: str) -> str | None:
    command = ["git", "-C", str(file.parent), *words]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
