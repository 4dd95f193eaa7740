"""The parts that are disturbed: real processes that can be launched, killed and frozen."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from chaos.schedule import Part
from support import tied_process
from support.kafka_broker import KafkaBroker
from support.redis_server import RedisServer

_READY = {Part.GATEWAY: "serving on", Part.WORKER: "takes jobs from", Part.BRIDGE: "reads"}


class Running(Protocol):
    """One process of the machine."""

    kind: Part

    @property
    def running(self) -> bool: ...
    def launch(self) -> None: ...
    def kill(self) -> None: ...
    def stop(self) -> None: ...


class ServerPart:
    """A broker or a redis-server."""

    def __init__(self, kind: Part, server: KafkaBroker | RedisServer) -> None:
        self.kind = kind
        self._server = server

    @property
    def running(self) -> bool:
        return self._server.running

    def launch(self) -> None:
        self._server.launch()

    def kill(self) -> None:
        self._server.kill()

    def stop(self) -> None:
        self._server.stop()


class ProcessPart:
    """A gateway, a worker or a bridge."""

    def __init__(
        self,
        kind: Part,
        command: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str],
    ) -> None:
        self.kind = kind
        self.log = log
        self._command = command
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._said_before_bytes = 0

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def ready(self) -> bool:
        """Whether it has said, since its last launch, that it takes work."""
        said = self.log.read_bytes()[self._said_before_bytes :]
        return _READY[self.kind].encode() in said

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None
        return self._process.pid

    def launch(self) -> None:
        # One that was ended early has never said it.
        self._said_before_bytes = self.log.stat().st_size if self.log.exists() else 0
        self._process = tied_process.start_tied(
            self._command, log=self.log, environment=self._environment
        )

    def kill(self) -> None:
        if self._process is not None:
            tied_process.kill(self._process)

    def ask_to_leave(self) -> None:
        """Send SIGTERM, and return at once."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def wait(self, *, timeout_s: float) -> int:
        """Return its exit status when it has ended."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def freeze(self) -> None:
        """Stop it where it stands; others find it silent."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on as if nothing had happened."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            tied_process.stop(self._process, timeout_s=15)
