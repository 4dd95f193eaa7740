"""Programs that need torch, without importing it for each: to import it takes seconds of a core.

A parent process imports once what `arno` needs to train and to run models. Every program is a fork
of it, a process of its own: it can be killed and asked to stop as any other.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from support.arno_up import Said
from support.eventually import eventually

_PARENT = Path(__file__).with_name("warm_arno_parent.py")
_TIMEOUT_S = 300.0


class WarmProcess:
    """A process forked off the parent; a group of its own, as behind a terminal."""

    def __init__(self, parent: WarmArno, pid: int, log: Path, out: Path) -> None:
        self._parent = parent
        self.pid = pid
        self._log, self._out = log, out
        self._exit_code: int | None = None

    @property
    def said(self) -> str:
        """What it has written to standard error."""
        return self._log.read_text()

    def poll(self) -> int | None:
        """Return its exit code, negative after a signal; None while it runs."""
        if self._exit_code is None:
            self._exit_code = self._parent.ask({"poll": self.pid})
        return self._exit_code

    def wait(self, timeout_s: float = _TIMEOUT_S) -> int:
        """Return its exit code when it has ended."""
        eventually(lambda: self.poll() is not None, timeout_s=timeout_s, what="it ends")
        assert self._exit_code is not None
        return self._exit_code

    def send_signal(self, number: signal.Signals) -> None:
        """Signal the process alone."""
        os.kill(self.pid, number)

    def result(self) -> Said:
        """Wait for its end, and return what it left."""
        return Said(self.wait(), self._out.read_text(), self.said)


class WarmArno:
    """The parent process, and what it is asked to start."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="warm-arno-")
        self._count = 0
        self._process = subprocess.Popen(
            [sys.executable, str(_PARENT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, *words: object) -> Said:
        """Run an `arno` command to its end."""
        return self.start(*words).result()

    def start(
        self, *words: object, folder: Path | None = None, variables: Mapping[str, str] | None = None
    ) -> WarmProcess:
        """Start an `arno` command."""
        return self.start_module("arno.cli", *words, folder=folder, variables=variables)

    def start_module(
        self,
        module: str,
        *words: object,
        folder: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> WarmProcess:
        """Start what `python -m MODULE WORDS` starts."""
        return self._start({"module": module}, words, folder, variables)

    def run_code(self, code: str, *, folder: Path | None = None) -> Said:
        """Run what `python -c CODE` runs, to its end."""
        return self._start({"code": code}, (), folder, None).result()

    def ask(self, question: Mapping[str, object]) -> int | None:
        """Send one question to the parent, and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(question), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, f"the parent ended with {self._process.wait()}"
        found: int | None = json.loads(answer)
        return found

    def close(self) -> None:
        """End the parent, and with it what still runs."""
        self._process.communicate(timeout=20)
        self._folder.cleanup()

    def _start(
        self,
        program: Mapping[str, str],
        words: tuple[object, ...],
        folder: Path | None,
        variables: Mapping[str, str] | None,
    ) -> WarmProcess:
        self._count += 1
        place = Path(self._folder.name)
        log, out = place / f"{self._count}.err", place / f"{self._count}.out"
        pid = self.ask(
            {
                **program,
                "words": list(map(str, words)),
                "folder": str(folder or Path.cwd()),
                "variables": dict(variables or {}),
                "out": str(out),
                "err": str(log),
            }
        )
        assert pid is not None
        return WarmProcess(self, pid, log, out)
