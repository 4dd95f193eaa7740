"""Say which commit of Arno's own source a result was made with."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

_GIT_TIMEOUT_S: Final = 10.0


def source_commit() -> str | None:
    """Return the commit that this code is of, "+" for changes on top; None where it is installed.

    Asked of the folder of this file, and only if git knows the file: around an installed copy may
    well lie somebody else's repository. Without git it is not known either.
    """
    here = Path(__file__)
    if _git(here, "ls-files", "--error-unmatch", here.name) is None:
        return None
    head = _git(here, "rev-parse", "HEAD")
    changes = _git(here, "status", "--porcelain", "--untracked-files=no")
    return f"{head}+" if head and changes else head


def _git(file: Path, *words: str) -> str | None:
    command = ["git", "-C", str(file.parent), *words]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
