"""Give signs of life of this worker, so that only its death counts against the jobs in hand.

A worker that falls silent has died at what it had in hand. One that leaves in order says so with
its last breath: what it hands back is no worse for it.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from arno.errors import BackendUnavailableError
from arno.results.worker_store import WorkerStore

logger = logging.getLogger(__name__)

SILENCE_SHARE: Final = 0.5
"""Of the bus's claim timeout: a worker that has been silent for so long counts as dead. The bus
gives a dead member's records to others two thirds of that timeout after its death at the earliest
(a claim on Redis is renewed three times in it, a session on Kafka four times or more)."""

_SIGNS_A_SILENCE: Final = 5
_FAREWELL_S: Final = 3.0


class Presence:
    """Signs of life, and the farewell. ``start`` once; the ends from any thread, the first counts.

    A store that is away hears nothing. What was in hand of a worker that leaves meanwhile looks as
    if it had died at it.
    """

    def __init__(self, writer: WorkerStore, *, claim_timeout_s: float) -> None:
        """Take the store, and the silence after which the bus takes a worker for dead."""
        self._writer = writer
        self._interval_s = claim_timeout_s * SILENCE_SHARE / _SIGNS_A_SILENCE
        self._ending = threading.Lock()
        self._ended = threading.Event()
        self._in_order = True
        # A thread of its own, which ends last; a daemon, since a store that hangs may hold it.
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def start(self) -> None:
        """Give signs of life from now on."""
        self._thread.start()

    def leave(self) -> None:
        """Say that this worker leaves and hands back what it did not end, when it does no more."""
        self._end(in_order=True)

    def die(self) -> None:
        """Say that this worker fails at what it has in hand, before others can get that."""
        self._end(in_order=False)

    def _end(self, *, in_order: bool) -> None:
        with self._ending:
            if not self._ended.is_set():
                self._in_order = in_order
                self._ended.set()
        self._thread.join(_FAREWELL_S)

    def _run(self) -> None:
        while not self._ended.wait(self._interval_s):
            try:
                self._writer.report_alive()
            except BackendUnavailableError:
                continue  # the next sign will do
        try:
            self._writer.report_gone(in_order=self._in_order)
        except BackendUnavailableError:
            logger.warning("the store did not hear how this worker ended")
