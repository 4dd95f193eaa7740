"""The parent's side of a server of another project, over loopback."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from benchmarks.ask import Ask, Serving, UnavailableError
from benchmarks.pictures import picture

_START_S_MAX = 180.0
_ANSWER_S_MAX = 900.0
_CONNECTIONS = 64
_ROOT = Path(__file__).resolve().parents[2]


class HttpEngine:
    """Asks a server by POST, over kept connections, one for each thread."""

    def __init__(self, server: str, path: str, serving: Serving) -> None:
        """Start the server and wait for its first answer.

        Raises:
            UnavailableError: The server gave none.
        """
        self._path, self._port = path, _free_port()
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the server
        self._process = subprocess.Popen(
            [sys.executable, "-m", server, json.dumps(asdict(serving)), str(self._port)],
            cwd=_ROOT,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._connections = threading.local()
        self._threads = ThreadPoolExecutor(_CONNECTIONS)
        self._wait(server)

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid

    def submit(self, ask: Ask) -> Future[tuple[int, ...]]:
        """Ask."""
        return self._threads.submit(self._post, ask)

    def close(self) -> None:
        """End the server and all that it started."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(15)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self._process.wait()
        self._log.close()

    def _wait(self, server: str) -> None:
        probe = Ask(0, "CAPTION", "What does the image describe?", picture(0), 4)
        give_up_s = time.monotonic() + _START_S_MAX
        while time.monotonic() < give_up_s and self._process.poll() is None:
            try:
                self._post(probe)
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.5)
            else:
                return
        self._log.seek(0)
        said = self._log.read()[-400:].strip().replace("\n", " | ")
        self.close()
        raise UnavailableError(f"{server}: it did not answer: {said}")

    def _post(self, ask: Ask) -> tuple[int, ...]:
        connection = getattr(self._connections, "kept", None)
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_ANSWER_S_MAX)
            self._connections.kept = connection
        headers = {"Content-Type": "application/json"}
        try:
            connection.request("POST", self._path, json.dumps(ask.to_json()), headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            self._connections.kept = None
            raise
        if response.status != http.HTTPStatus.OK:
            raise ValueError(f"HTTP {response.status}: {body[:200]!r}")
        return tuple(json.loads(body)["token_ids"])


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
