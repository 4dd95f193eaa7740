"""Own one consumer: join, poll, drain, leave."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from arno.bus.ports import Consumer
from arno.worker.job import Job
from arno.worker.prepare_queue import PrepareQueue
from arno.worker.retrying import AbandonedError, Backend

logger = logging.getLogger(__name__)

_POLL_S: Final = 0.1
_DRAIN_SLICE_S: Final = 0.25


class PollLoop:
    """One consumer and the thread that owns it; it never waits for a device or the store."""

    def __init__(
        self,
        consumer: Consumer,
        bus: Backend,
        *,
        jobs: PrepareQueue,
        stop: threading.Event,
        drain_s: float,
    ) -> None:
        """Take the consumer.

        Args:
            consumer: Not started yet.
            bus: For joining while the bus is away.
            jobs: Gets a job for every delivery.
            stop: Ends polling and begins the drain.
            drain_s: How long jobs in flight may take to finish after that.
        """
        self._consumer = consumer
        self._bus = bus
        self._jobs = jobs
        self._stop = stop
        self._drain_s = drain_s
        self._hurry = threading.Event()
        self._joined = False
        self._drained = False

    @property
    def joined(self) -> bool:
        """Whether the consumer is a member of its group."""
        return self._joined

    @property
    def drained(self) -> bool:
        """Whether everything that was taken was finished before leaving."""
        return self._drained

    @property
    def consumer(self) -> Consumer:
        """The consumer, for ``statistics`` only."""
        return self._consumer

    def hurry(self) -> None:
        """Leave without waiting for jobs in flight."""
        self._hurry.set()

    def run(self) -> None:
        """Poll until stopped, then drain; `close` must follow on the same thread."""
        try:
            if not self._join():
                return
            while not self._stop.is_set():
                for delivery in self._consumer.poll(_POLL_S):
                    self._jobs.put(Job(delivery, self._consumer))
            self._drained = self._drain()
        finally:
            self._joined = False

    def close(self) -> None:
        """Leave the group: other members get the jobs that were not finished."""
        self._consumer.close()

    def _join(self) -> bool:
        try:
            self._bus.insist(self._start_unless_stopped)
        except AbandonedError:
            return False
        self._joined = not self._stop.is_set()
        return self._joined

    def _start_unless_stopped(self) -> None:
        if not self._stop.is_set():
            self._consumer.start()

    def _drain(self) -> bool:
        end_s = time.monotonic() + self._drain_s
        while not self._hurry.is_set() and (left_s := end_s - time.monotonic()) > 0:
            # In slices, so that a failure elsewhere ends the wait.
            if self._consumer.drain(min(left_s, _DRAIN_SLICE_S)):
                return True
        return False
