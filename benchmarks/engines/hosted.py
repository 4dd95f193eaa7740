"""The parent's side of an engine in a child process."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import Future

from benchmarks.ask import Ask, Serving
from benchmarks.engines.host import host
from benchmarks.engines.registry import UnavailableError

_START_S_MAX = 300.0


class HostedEngine:
    """Asks through a pipe. `submit` from one thread."""

    def __init__(self, name: str, serving: Serving) -> None:
        """Start the child and wait until its model is loaded.

        Raises:
            UnavailableError: It did not come up.
        """
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=host, args=(name, serving, theirs), daemon=True)
        self._process.start()
        theirs.close()
        fault = "it did not start in time"
        if self._pipe.poll(_START_S_MAX):
            try:
                _, _, fault = self._pipe.recv()
            except EOFError:
                fault = "its process ended"
        if fault:
            self.close()
            raise UnavailableError(f"{name}: {fault}")
        self._asked: dict[int, Future[tuple[int, ...]]] = {}
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process.pid is not None
        return self._process.pid

    def submit(self, ask: Ask) -> Future[tuple[int, ...]]:
        """Ask; ids are unique among those that are not answered."""
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
                ask_id, answer, fault = self._pipe.recv()
            except (EOFError, OSError):
                for future in self._asked.values():
                    future.set_exception(ConnectionError("the engine's process ended"))
                return
            future = self._asked.pop(ask_id)
            if fault:
                future.set_exception(RuntimeError(fault))
            else:
                future.set_result(answer)
