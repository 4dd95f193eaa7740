"""Report that this worker is alive, so that only its death counts against the jobs in flight.

A worker that falls silent counts as dead at the jobs that it had begun. One that leaves in order
reports that at its end: what it hands back is no worse for it.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import Final

from arno.errors import BackendUnavailableError
from arno.ops.clock import StoreClock
from arno.results.worker_store import WorkerStore

logger = logging.getLogger(__name__)

SILENCE_SHARE: Final = 0.5
"""Share of the bus's claim timeout: a worker that is silent for that time counts as dead. The bus
gives the records of a dead member to others after two thirds of that timeout at the earliest: a
claim on Redis is renewed three times in it, a session on Kafka four times or more."""

_BEATS_A_SILENCE: Final = 5
REPORT_S: Final = 3.0


class Heartbeat:
    """Beats on a thread of its own, and a report of the end. The first report of an end counts.

    While the store is away nothing arrives there: to it, a worker that leaves meanwhile has died at
    the jobs that it had begun.
    """

    def __init__(self, writer: WorkerStore, clock: StoreClock, *, claim_timeout_s: float) -> None:
        """Take the parts.

        Args:
            writer: The store.
            clock: Follows the store's time, which each beat brings back.
            claim_timeout_s: The time after which the bus takes a silent worker for dead.
        """
        self._writer = writer
        self._clock = clock
        self._interval_s = claim_timeout_s * SILENCE_SHARE / _BEATS_A_SILENCE
        self._ending = threading.Lock()
        self._ended = threading.Event()
        self._in_order = True
        # A thread of its own, which ends last; a daemon, since a store that hangs may hold it.
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Beat from now on."""
        self._thread.start()

    def leave(self) -> None:
        """Report, once nothing runs any more, that what has not ended is handed back."""
        self._end(in_order=True)

    def report_stall_as_death(self) -> None:
        """Report a death at the jobs in flight, before another worker can get them."""
        self._end(in_order=False)

    def _end(self, *, in_order: bool) -> None:
        with self._ending:
            if not self._ended.is_set():
                self._in_order = in_order
                self._ended.set()
        self._thread.join(REPORT_S)

    def _run(self) -> None:
        while True:
            asked_s = self._clock.monotonic_s()
            # The next beat will do where the store is away.
            with suppress(BackendUnavailableError):
                self._clock.follow(self._writer.report_alive(), asked_s=asked_s)
            if self._ended.wait(self._interval_s):
                break
        try:
            self._writer.report_gone(in_order=self._in_order)
        except BackendUnavailableError:
            logger.warning("the store did not hear how this worker ended")
