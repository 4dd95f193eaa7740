"""A server of the machine as a child process that a test may kill and start again."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from pathlib import Path

from arno.ops.ports import free_port
from support import tied_process


class Server(ABC):
    """One server; its ports and its data stay the same across ``kill`` and ``start``.

    A kind of server says how it is launched (``launch`` sets ``_process``), when it is ready, and
    how it stops.
    """

    def __init__(self, folder: Path, *, log: str) -> None:
        """Choose a port; nothing runs yet.

        Args:
            folder: Empty, for this server alone.
            log: Name of the file in it that gets the server's output.
        """
        self.folder = folder
        self.port = free_port()
        self._log = folder / log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The id of the running process."""
        assert self._process is not None
        return self._process.pid

    @abstractmethod
    def launch(self) -> None:
        """Start the process without waiting for it."""

    @abstractmethod
    def await_ready(self) -> None:
        """Return once a launched server takes work."""

    @abstractmethod
    def stop(self) -> None:
        """End it in order (SIGTERM)."""

    def start(self) -> None:
        """Start it and wait until it takes work; does nothing when it runs."""
        if self.running:
            return
        self.launch()
        self.await_ready()

    def kill(self) -> None:
        """End it at once (SIGKILL); what it had acknowledged is on the disk."""
        if self._process is not None:
            tied_process.kill(self._process)

    def restart_after_kill(self) -> None:
        """Crash it and bring it back on the same port with its data."""
        self.kill()
        self.start()

    def _await_port(self, *, timeout_s: float) -> None:
        assert self._process is not None
        tied_process.await_port(self._process, self.port, log=self._log, timeout_s=timeout_s)
