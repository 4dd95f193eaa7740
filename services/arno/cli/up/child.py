"""One supervised child process: its command, its log, its life."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from arno.cli.up import tied_launcher

_TAIL_LINES: Final = 12
_LOUD_LEVELS: Final = frozenset({"WARNING", "ERROR", "CRITICAL"})


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to run.

    Attributes:
        name: For people and for the log's file name.
        command: Program and arguments.
        ready: Says whether it may be given work. Must not block for more than a second.
        address: Where it listens, for people.
    """

    name: str
    command: Sequence[str]
    ready: Callable[[], bool]
    address: str


class Child:
    """A process that is started, watched and stopped. Owned by the main thread.

    The kernel ties a child to the thread that started it, hence the main thread only.
    """

    def __init__(self, spec: ChildSpec, log_folder: Path) -> None:
        """Prepare; nothing runs yet. The log of an earlier run is kept beside the new one."""
        self.spec = spec
        self.log = log_folder / f"{spec.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._read_bytes = 0
        if self.log.exists():
            self.log.replace(log_folder / f"{spec.name}.previous.log")

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How the last process ended; minus the signal's number where one ended it."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Run the command, its output appended to the log."""
        launcher = [sys.executable, "-I", "-S", tied_launcher.__file__, str(os.getpid())]
        with self.log.open("ab") as output:
            # An own session: Ctrl-C reaches the supervisor alone, which then stops all in order.
            self._process = subprocess.Popen(
                [*launcher, *self.spec.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def terminate(self) -> None:
        """Ask it to end in order."""
        if self._process is not None and self.running:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def new_warnings(self) -> Iterator[str]:
        """Yield what it logged as a warning or worse since the last call."""
        for line in self._new_lines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and event.get("level") in _LOUD_LEVELS:
                yield str(event.get("message", line))

    def tail(self) -> list[str]:
        """Return the last lines of the log, events in short."""
        if not self.log.exists():
            return []
        lines = self.log.read_text("utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        return [short for line in lines for short in _shorten(line)]

    def _new_lines(self) -> list[str]:
        if not self.log.exists():
            return []
        with self.log.open("rb") as log:
            log.seek(self._read_bytes)
            fresh = log.read()
        # The last line may still be on its way.
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        return whole.decode("utf-8", errors="replace").splitlines()


def _shorten(line: str) -> list[str]:
    """Return what a person needs of a line: of an event its level, message and exception."""
    try:
        event = json.loads(line)
    except ValueError:
        return [line]
    if not isinstance(event, dict) or "message" not in event:
        return [line]
    head = " ".join(str(event.get(name, "")) for name in ("time", "level", "message"))
    return [head, *str(event.get("exception", "")).splitlines()[-_TAIL_LINES:]]
