"""The parent's side of an engine in a child process."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import Future

from benchmarks.ask import Ask, Serving, UnavailableError
from benchmarks.engines.host import host

_START_S_MAX = 900.0
"""An engine that is compiled for the first time takes minutes."""


class HostedEngine:
    """Asks an engine through a pipe. Call `submit` from one thread."""

    def __init__(self, name: str, serving: Serving) -> None:
        """Start the child and wait until its model is loaded.

        Raises:
            UnavailableError: It did not start.
        """
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=host, args=(name, serving, theirs), daemon=True)
        self._process.start()
        theirs.close()
        error = "it did not start in time"
        if self._pipe.poll(_START_S_MAX):
            try:
                _, _, error = self._pipe.recv()
            except EOFError:
                error = "its process ended"
        if error:
            self.close()
            raise UnavailableError(f"{name}: {error}")
        self._asked: dict[int, Future[tuple[int, ...]]] = {}
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process.pid is not None
        return self._process.pid

    def submit(self, ask: Ask) -> Future[tuple[int, ...]]:
        """Ask; ids must be unique among the unanswered asks."""
        future: Future[tuple[int, ...]] = Future()
        self._asked[ask.ask_id] = future
        self._pipe.send(ask)
        return future

    def close(self) -> None:
        """End the child."""
        self._process.kill()
        self._process.join()

    def _read(self) -> None:
        while True:
            try:
                ask_id, answer, error = self._pipe.recv()
            except (EOFError, OSError):
                for future in self._asked.values():
                    future.set_exception(ConnectionError("the engine's process ended"))
                return
            future = self._asked.pop(ask_id)
            if error:
                future.set_exception(RuntimeError(error))
            else:
                future.set_result(answer)
