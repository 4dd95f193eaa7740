"""Fail when the protos break clients of the branch that this change goes to.

The base is the newest commit of ``main`` that is not this one: the remote's, or the commit before.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUF = Path(sys.executable).parent / "buf"


def main() -> int:
    """Run the command line."""
    base = next(filter(holds_protos, ("origin/main", "HEAD~1")), None)
    if base is None:
        sys.stdout.write("no earlier protos to compare with\n")
        return 0
    against = f"{ROOT / '.git'}#ref={git('rev-parse', base)}"
    return subprocess.run([BUF, "breaking", "--against", against], cwd=ROOT, check=False).returncode


def holds_protos(ref: str) -> bool:
    """Say whether a commit exists and has protos."""
    found = subprocess.run(
        ["git", "cat-file", "-e", f"{ref}:protos"], cwd=ROOT, check=False, capture_output=True
    )
    return found.returncode == 0


def git(*arguments: str) -> str:
    """Return what a git command prints."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
