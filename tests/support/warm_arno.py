"""The `arno` command in one process that runs many: torch takes seconds to import, once is enough.

For commands that end by themselves. What is killed, or asked to stop, needs a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from support.arno_up import Said

_CHILD = Path(__file__).with_name("warm_arno_child.py")


class WarmArno:
    """A child process that takes one command at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(_CHILD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, *words: object) -> Said:
        """Run a command to its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(list(map(str, words))), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, f"the child ended with {self._process.wait()}"
        return Said(**json.loads(answer))

    def close(self) -> None:
        """End the child: its input ends."""
        self._process.communicate(timeout=20)
