"""`arno up` as a real child process on free ports, and the `arno` command beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from support import tied_process
from support.eventually import eventually

_ARNO = [sys.executable, "-m", "arno.cli"]
_START_TIMEOUT_S = 90.0


@dataclass(frozen=True)
class Said:
    """What a command left."""

    exit_code: int
    out: str
    err: str


def arno(*words: str | Path, folder: Path | None = None, **variables: str) -> Said:
    """Run the command to its end."""
    done = subprocess.run(
        [*_ARNO, *map(str, words)],
        cwd=folder,
        env=_environment(variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    return Said(done.returncode, done.stdout, done.stderr)


def start_arno(*words: str | Path, log: Path, **variables: str) -> subprocess.Popen[bytes]:
    """Start the command; what it says goes to the log."""
    return tied_process.start_tied(
        [*_ARNO, *map(str, words)], log=log, environment=_environment(variables)
    )


class ArnoUp:
    """One `arno up` with a model that answers at once."""

    def __init__(self, folder: Path, *flags: str, **variables: str) -> None:
        self.data = folder / "data"
        self.log = folder / "up.log"
        given = ["--port", "0", "--data", str(self.data), "--model", "null", "--no-web"]
        words = ["up", *given, *flags]
        self.process = start_arno(*words, log=self.log, **variables)
        try:
            eventually(self._ready, timeout_s=_START_TIMEOUT_S, what="arno up is ready")
        except AssertionError as error:
            self.stop()
            raise AssertionError(f"{error}\n{self.said}") from error
        state = json.loads((self.data / "up.json").read_text())
        self.address: str = state["address"]
        self.web: str = state["web"] or ""

    @property
    def said(self) -> str:
        return self.log.read_text()

    def children(self) -> dict[str, int]:
        """Return the running children's pids: redis-server, gateway, worker, web."""
        return {
            name: pid
            for pid, words in _children_of(self.process.pid)
            for name in ("redis-server", "gateway", "worker", "web")
            if any(word.endswith(name) for word in words)
        }

    def stop(self) -> int:
        """End it as Ctrl-C does; return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def _ready(self) -> bool:
        ended = self.process.poll()
        assert ended is None, f"arno up ended with {ended}:\n{self.said}"
        return (self.data / "up.json").exists()


def alive(pid: int) -> bool:
    """Whether a process is there; one that only waits to be buried is not."""
    try:
        return _status(pid)[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _children_of(parent: int) -> list[tuple[int, list[str]]]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and int(_status(int(entry.name))[1]) == parent:
                # redis-server writes its own command line, with spaces between.
                words = (entry / "cmdline").read_bytes().decode().replace("\0", " ").split()
                found.append((int(entry.name), words))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _status(pid: int) -> list[str]:
    # The name before the last bracket may hold anything.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _environment(variables: dict[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ARNO_")}
    # Wide enough that no table is cut.
    return {**inherited, "COLUMNS": "160", **variables}
