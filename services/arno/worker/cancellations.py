"""Ask the store which of the jobs in hand nobody wants any more."""

from __future__ import annotations

import threading
from collections.abc import Callable

from arno.errors import BackendUnavailableError
from arno.results.worker_store import WorkerStore


class Cancellations:
    """Looks every so often; a store that is away only delays a cancel."""

    def __init__(
        self,
        writer: WorkerStore,
        *,
        interval_s: float,
        in_hand: Callable[[], list[str]],
        cancel: Callable[[set[str]], None],
    ) -> None:
        """Take the store, how often to ask, the ids in hand, and whom to tell."""
        self._writer = writer
        self._interval_s = interval_s
        self._in_hand = in_hand
        self._cancel = cancel
        self._stopped = threading.Event()

    def run(self) -> None:
        """Ask until stopped: the body of a thread."""
        while not self._stopped.wait(self._interval_s):
            self._look()

    def stop(self) -> None:
        """Let the thread end."""
        self._stopped.set()

    def _look(self) -> None:
        job_ids = self._in_hand()
        if not job_ids:
            return
        try:
            found = self._writer.cancelled(job_ids)
        except BackendUnavailableError:
            return
        if found:
            self._cancel(found)
