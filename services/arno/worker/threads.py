"""Run the threads of a process, and notice when one dies.

Stands alone: it does not depend on jobs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)


class ThreadGroup:
    """Threads that work together: the death of one ends the process."""

    def __init__(self, on_failure: Callable[[], None]) -> None:
        """Take what is called, on the dying thread, when a thread dies of an exception."""
        self._on_failure = on_failure
        self._threads: list[threading.Thread] = []
        self._failure: BaseException | None = None

    @property
    def failure(self) -> BaseException | None:
        """The exception that killed the first thread, or None."""
        return self._failure

    def start(self, name: str, body: Callable[[], None]) -> threading.Thread:
        """Run a body on a thread of its own until it returns."""
        # A daemon, so that a thread stuck in a driver cannot keep a dying process alive.
        thread = threading.Thread(target=self._guarded, args=(name, body), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def join(self, timeout_s: float) -> list[str]:
        """Wait for all threads, and return the names of those that still run."""
        end_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, end_s - time.monotonic()))
        return [thread.name for thread in self._threads if thread.is_alive()]

    def _guarded(self, name: str, body: Callable[[], None]) -> None:
        try:
            body()
        except BaseException as error:
            logger.critical("thread %s died; the process ends", name, exc_info=error)
            self._failure = self._failure or error
            self._on_failure()
