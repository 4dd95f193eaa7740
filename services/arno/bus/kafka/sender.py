"""Sends records to topics of any name, and reports when Kafka has them.

The client has threads and futures of its own; the sender carries their outcomes into the loop. A
record counts as sent when every in-sync replica has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from kafka.errors import KafkaError

from arno.bus.kafka.faults import translate
from arno.bus.kafka.patches import PatchedProducer
from arno.bus.kafka.settings import producer_config, require_crc32c
from arno.bus.limits import ByteBudget
from arno.bus.settings import BusSettings
from arno.errors import BackendUnavailableError

CLOSE_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record as Kafka takes it.

    Attributes:
        topic: Where it goes.
        value: The payload; None is Kafka's null.
        key: Decides the partition as Kafka's own clients do; None: any partition.
        headers: Names may repeat; a value of None is sent empty.
        partition: Where it is known already.
        timestamp_ms: Unix milliseconds; None: now.
    """

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()
    partition: int | None = None
    timestamp_ms: int | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes of value, key and headers."""
        headers = sum(len(name) + len(value or b"") for name, value in self.headers)
        return len(self.value or b"") + len(self.key or b"") + headers


class KafkaSender:
    """One producer. Lives in one asyncio loop, but for ``connect``, which blocks."""

    def __init__(self, settings: BusSettings) -> None:
        """Take the settings; nothing is connected yet."""
        self._settings = settings
        # The client's own buffer has no bound.
        self._budget = ByteBudget(settings.publish_buffer_bytes_max)
        self._producer: PatchedProducer | None = None

    def connect(self, topics: Collection[str]) -> dict[str, set[int]]:
        """Connect, and return the partitions of these topics, which must exist. Blocking.

        Raises:
            BackendUnavailableError: Kafka cannot be reached.
            ConfigurationError: Kafka refuses us.
        """
        require_crc32c()
        producer = None
        try:
            producer = PatchedProducer(**producer_config(self._settings))
            # A send to a topic without metadata would block the event loop.
            partitions = {topic: producer.partitions_for(topic) or {0} for topic in topics}
        except KafkaError as fault:
            if producer is not None:
                producer.close(CLOSE_TIMEOUT_S)
            raise translate(fault) from fault
        self._producer = producer
        return partitions

    def partitions(self, topic: str) -> Collection[int]:
        """Return the partitions of a topic to which records can be sent now. Blocking.

        Raises:
            BackendUnavailableError: The topic has vanished, or the sender is closed.
        """
        producer = self._producer
        if producer is None:
            raise BackendUnavailableError("kafka: the publisher is not started, or closed")
        try:
            known: Collection[int] = producer.partitions_for(topic)
        except KafkaError as fault:
            raise translate(fault) from fault
        return known

    async def send(self, message: Outgoing, *, timeout_s: float) -> None:
        """Return once Kafka has the record on all in-sync replicas.

        Raises:
            LimitExceededError: The record is larger than the client or the topic takes.
            OverloadedError: Too many bytes wait for Kafka already.
            BackendUnavailableError: Not acknowledged in time; the record may arrive all the same.
            ConfigurationError: Kafka refuses it, and would refuse it again.
        """
        size_bytes = message.size_bytes
        self._budget.take(size_bytes)
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[None] = loop.create_future()
        settle = partial(self._settle, outcome, size_bytes)
        try:
            sending = self._start(message)
        except BaseException:
            self._budget.give_back(size_bytes)
            raise
        sending.add_callback(lambda _: loop.call_soon_threadsafe(settle, None))
        sending.add_errback(lambda fault: loop.call_soon_threadsafe(settle, fault))
        try:
            async with asyncio.timeout(timeout_s):
                await outcome
        except TimeoutError as fault:
            # It stays in the client's buffer and may still arrive; so does its share of the budget.
            raise BackendUnavailableError(
                f"kafka: not acknowledged within {timeout_s:g} s", timeout_s=f"{timeout_s:g}"
            ) from fault

    async def close(self) -> None:
        """Send what is buffered and disconnect. Idempotent."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await asyncio.to_thread(producer.close, CLOSE_TIMEOUT_S)

    # The client is untyped; what it returns is its own future.
    def _start(self, message: Outgoing) -> Any:
        if self._producer is None:
            raise BackendUnavailableError("kafka: the publisher is not started, or closed")
        try:
            return self._producer.send(
                message.topic,
                value=message.value,
                key=message.key,
                # The client takes no null.
                headers=[(name, value or b"") for name, value in message.headers],
                partition=message.partition,
                timestamp_ms=message.timestamp_ms,
            )
        except KafkaError as fault:
            raise translate(fault) from fault

    def _settle(
        self, outcome: asyncio.Future[None], size_bytes: int, fault: KafkaError | None
    ) -> None:
        self._budget.give_back(size_bytes)
        if outcome.done():
            # The caller has gone; its answer was "not acknowledged in time".
            return
        if fault is None:
            outcome.set_result(None)
        else:
            outcome.set_exception(translate(fault))
