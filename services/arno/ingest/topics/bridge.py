"""One bridge: images from a topic through the gateway, results to another topic.

Delivery is at least once: an offset is committed only when Kafka has acknowledged the result, or
the dead letter, of every record before it. Records of one key are asked about together, and their
results are written one after the other, each once the one before is acknowledged.

A thread owns the consumer and only polls; everything else happens in one asyncio loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeAlias

from arno.bus.kafka.foreign import ForeignDelivery
from arno.bus.kafka.sender import Outgoing
from arno.bus.ports import ConsumerStatistics, Receipt
from arno.errors import ArnoError, ConfigurationError, LimitExceededError, UnavailableError
from arno.ingest.metrics import BridgeMetrics
from arno.ingest.settings import TopicRoute
from arno.ingest.topics.asker import Asker
from arno.ingest.topics.records import Keys, dead_letters, image_of, result_record
from arno.ingest.topics.references import Fetcher
from arno.vocabulary.results import InferResult

logger = logging.getLogger(__name__)

_POLL_S: Final = 0.02
_JOIN_PAUSE_S: Final = 1.0
_SEND_PAUSE_S: Final = 0.5
_SEND_TIMEOUT_S: Final = 45.0
"""Longer than the client keeps a record (30 s): one that is sent again while its first copy still
waits would be there twice, and out of order."""

_BAD_TIMESTAMP: Final = "InvalidTimestampError"

Order: TypeAlias = tuple[int, bytes]
"""A partition and a key: what is written in the order of the source."""


class Reader(Protocol):
    """The consumer of the source; one thread owns it, but for ``done`` and ``statistics``."""

    unfinished_max: int
    """How many records may be in flight; 0 pauses."""

    def start(self) -> None:
        """Join the group."""

    def poll(self, timeout_s: float) -> Sequence[ForeignDelivery]:
        """Return new records."""

    def done(self, receipt: Receipt) -> None:
        """Declare a record finished."""

    def holds(self, receipt: Receipt) -> bool:
        """Return whether a record is still this member's."""

    def drain(self, timeout_s: float) -> bool:
        """Fetch nothing more, and wait until everything is finished and committed."""

    def close(self) -> None:
        """Leave the group."""

    def statistics(self) -> ConsumerStatistics:
        """Return the numbers of this moment."""


class Sender(Protocol):
    """Writes to results and dead letters."""

    async def send(self, message: Outgoing, *, timeout_s: float) -> None:
        """Return once Kafka has the record."""


@dataclass(frozen=True, slots=True)
class BridgeParts:
    """What a bridge is made of.

    Attributes:
        reader: Not started yet.
        sender: Connected.
        asker: Asks the route's question.
        metrics: Of this bridge.
        fetcher: Gets the images where values are references.
    """

    reader: Reader
    sender: Sender
    asker: Asker
    metrics: BridgeMetrics
    fetcher: Fetcher | None = None


class TopicBridge:
    """One run of one route; ``run`` is called once, in the loop of sender and asker."""

    def __init__(
        self,
        route: TopicRoute,
        parts: BridgeParts,
        *,
        drain_s: float,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Take the route and its parts.

        Args:
            route: From where to where.
            parts: The reader, and so on.
            drain_s: How long records in flight may take after ``stop``.
            pause: Waits a number of seconds.
        """
        self.route = route
        self._parts = parts
        self._keys = Keys(route)
        self._drain_s = drain_s
        self._pause = pause
        self._stopping = threading.Event()
        self._joined = False
        self._send_problem = ""
        self._join_problem = ""
        self._failure: BaseException | None = None
        self._bytes_in_hand = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_of: dict[Order, asyncio.Task[None]] = {}

    @property
    def problem(self) -> str:
        """What keeps it from working; empty where nothing does."""
        if self._joined:
            return self._send_problem or self._parts.asker.problem
        return self._join_problem or "joins its group"

    def stop(self) -> None:
        """Take nothing more, finish what is in flight, and leave. Any thread."""
        self._stopping.set()

    async def run(self) -> bool:
        """Work until stopped; return whether everything in flight was finished.

        Raises:
            ArnoError: Kafka refuses us for good.
            Exception: What no record may do; nothing is committed that was not answered.
        """
        try:
            drained = await asyncio.to_thread(self._own_reader, asyncio.get_running_loop())
        finally:
            self._stopping.set()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._failure is not None:
            raise self._failure
        return drained

    def _own_reader(self, loop: asyncio.AbstractEventLoop) -> bool:
        reader = self._parts.reader
        try:
            if not self._join():
                return True
            while not self._stopping.is_set():
                full = self._bytes_in_hand >= self.route.bytes_in_hand_max
                reader.unfinished_max = 0 if full else self._parts.asker.pace.in_flight_max
                if deliveries := reader.poll(_POLL_S):
                    loop.call_soon_threadsafe(self._begin, deliveries)
                self._parts.metrics.observe(reader.statistics(), self._bytes_in_hand)
            return self._failure is None and reader.drain(self._drain_s)
        finally:
            self._joined = False
            reader.close()

    def _join(self) -> bool:
        while not self._stopping.is_set():
            try:
                self._parts.reader.start()
            except UnavailableError as error:
                if self._join_problem != error.message:
                    logger.warning("%s: %s; tried again", self.route.topic, error.message)
                self._join_problem = error.message
                self._stopping.wait(_JOIN_PAUSE_S)
            else:
                self._joined = True
                return True
        return False

    def _begin(self, deliveries: Sequence[ForeignDelivery]) -> None:
        for found in deliveries:
            self._bytes_in_hand += len(found.record.value)
            order = None if found.key is None else (found.receipt.partition, found.key)
            before = None if order is None else self._last_of.get(order)
            task = asyncio.create_task(self._handle(found, before))
            self._tasks.add(task)
            task.add_done_callback(self._forget)
            if order is not None:
                self._last_of[order] = task
                task.add_done_callback(partial(self._end_of, order))

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._failure = self._failure or failure
            self._stopping.set()

    def _end_of(self, order: Order, task: asyncio.Task[None]) -> None:
        if self._last_of.get(order) is task:
            del self._last_of[order]

    async def _handle(self, found: ForeignDelivery, before: asyncio.Task[None] | None) -> None:
        try:
            outcome, messages = await self._answer(found)
            if before is not None:
                # Shielded from our own cancellation; its own ends this record too, unfinished.
                await asyncio.shield(before)
            if not self._parts.reader.holds(found.receipt):
                # Another member has it, and may have written later results of its key by now.
                return
            outcome = await self._write(found, outcome, messages)
            self._parts.reader.done(found.receipt)
            self._parts.metrics.finished(outcome, appended_at_ms=found.appended_at_ms)
        finally:
            self._bytes_in_hand -= len(found.record.value)

    async def _answer(self, found: ForeignDelivery) -> tuple[str, Iterator[Outgoing]]:
        route = self.route
        try:
            result = await self._ask(found, image_of(route, found))
        except ArnoError as error:
            return "dead", self._give_up(found, error)
        return "answered", iter([result_record(route, found, result)])

    async def _ask(self, found: ForeignDelivery, value: bytes) -> InferResult:
        parts = self._parts
        if parts.fetcher is None:
            return await parts.asker.ask(value, self._keys.of(found))
        async with parts.fetcher.slots:
            image = await parts.fetcher.fetch(value)
            return await parts.asker.ask(image, self._keys.of(found, image))

    def _give_up(self, found: ForeignDelivery, error: ArnoError) -> Iterator[Outgoing]:
        place = {"partition": found.receipt.partition, "offset": found.receipt.position}
        logger.warning(
            "%s: a record is a dead letter: %s", self.route.topic, error.message, extra=place
        )
        return dead_letters(self.route, found, error)

    async def _write(
        self, found: ForeignDelivery, outcome: str, messages: Iterator[Outgoing]
    ) -> str:
        """Write the first of the messages that its topic takes; return the outcome.

        A result that is too large for its topic becomes a dead letter.
        """
        while True:
            try:
                await self._send(next(messages))
            except LimitExceededError as error:
                if outcome != "dead":
                    outcome, messages = "dead", self._give_up(found, error)
            else:
                return outcome

    async def _send(self, message: Outgoing) -> None:
        """Return once Kafka has the record, however long that takes.

        Raises:
            LimitExceededError: The record is too large for its topic.
        """
        while True:
            try:
                await self._parts.sender.send(message, timeout_s=_SEND_TIMEOUT_S)
            except (UnavailableError, ConfigurationError) as error:
                if error.metadata.get("fault") == _BAD_TIMESTAMP and message.timestamp_ms:
                    # The topic takes no record as old, or as new, as the source's.
                    message = _without_timestamp(message)
                    continue
                if self._send_problem != error.message:
                    logger.warning("%s: %s; sent again", message.topic, error.message)
                self._send_problem = error.message
                await self._pause(_SEND_PAUSE_S)
            else:
                self._send_problem = ""
                return


def _without_timestamp(message: Outgoing) -> Outgoing:
    return Outgoing(message.topic, message.value, key=message.key, headers=message.headers)
