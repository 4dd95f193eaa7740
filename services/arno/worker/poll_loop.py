"""Own one consumer: join, poll, drain, leave."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from arno.bus.ports import Consumer, Delivery
from arno.worker.retrying import AbandonedError, Backend

logger = logging.getLogger(__name__)

_POLL_S: Final = 0.1
_DRAIN_SLICE_S: Final = 0.25

Take = Callable[[Delivery, Callable[[], None]], None]
"""Takes a delivery and what declares it done; returns at once."""


class PollLoop:
    """One consumer and the thread that owns it; it never waits for a device or the store."""

    def __init__(
        self,
        consumer: Consumer,
        bus: Backend,
        *,
        take: Take,
        stop: threading.Event,
        drain_s: float,
        before_leaving: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the consumer.

        Args:
            consumer: Not started yet.
            bus: For joining while the bus is away.
            take: Gets every delivery.
            stop: Ends polling and begins the drain.
            drain_s: How long work in hand may take to finish after that.
            before_leaving: Is called before others can get what was not finished.
        """
        self._consumer = consumer
        self._bus = bus
        self._take = take
        self._stop = stop
        self._drain_s = drain_s
        self._before_leaving = before_leaving
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
        """Leave without waiting for work in hand."""
        self._hurry.set()

    def run(self) -> None:
        """Poll until stopped, then drain and leave: the body of a thread."""
        try:
            if not self._join():
                return
            while not self._stop.is_set():
                for delivery in self._consumer.poll(_POLL_S):
                    self._hand_over(delivery)
            self._drained = self._drain()
        finally:
            self._joined = False
            self._before_leaving()
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

    def _hand_over(self, delivery: Delivery) -> None:
        self._take(delivery, lambda: self._consumer.done(delivery.receipt))

    def _drain(self) -> bool:
        end_s = time.monotonic() + self._drain_s
        while not self._hurry.is_set() and (left_s := end_s - time.monotonic()) > 0:
            # In slices, so that a failure elsewhere ends the wait.
            if self._consumer.drain(min(left_s, _DRAIN_SLICE_S)):
                return True
        return False
