"""Order what waits to be prepared: the lanes that people wait for first, but nobody for ever."""

from __future__ import annotations

import itertools
import queue
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from arno.bus.ports import Delivery
from arno.vocabulary import Lane
from arno.worker.clock import Clock

_HEAD_START_S: Final = {Lane.INTERACTIVE.value: 5.0, Lane.STREAM.value: 4.0}
"""How much later an urgent delivery may come than one of the batch lane, and still go first."""


@dataclass(frozen=True, slots=True, order=True)
class _Entry:
    rank_s: float
    number: int
    waiting: WaitingDelivery | None = field(compare=False)


@dataclass(frozen=True, slots=True)
class WaitingDelivery:
    """A delivery, and what declares it done."""

    delivery: Delivery
    done: Callable[[], None]


class PrepareQueue:
    """Deliveries between the poll threads and the prepare threads; the windows bound it."""

    def __init__(self, clock: Clock) -> None:
        """Begin empty."""
        self._clock = clock
        self._numbers = itertools.count()
        self._entries: queue.PriorityQueue[_Entry] = queue.PriorityQueue()

    def put(self, delivery: Delivery, done: Callable[[], None]) -> None:
        """Add a delivery."""
        head_start_s = _HEAD_START_S.get(delivery.record.channel, 0.0)
        rank_s = self._clock.monotonic_s() - head_start_s
        self._entries.put(_Entry(rank_s, next(self._numbers), WaitingDelivery(delivery, done)))

    def get(self) -> WaitingDelivery | None:
        """Wait for the next delivery and return it; None after ``stop``."""
        return self._entries.get().waiting

    def __len__(self) -> int:
        return self._entries.qsize()

    def stop(self, reader_count: int) -> None:
        """Let readers end at once; what waits stays."""
        for _ in range(reader_count):
            self._entries.put(_Entry(float("-inf"), next(self._numbers), None))
