"""Puts records on Kafka from an asyncio loop.

The client has threads and futures of its own; this module carries their outcomes into the loop. A
record counts as published when every in-sync replica has it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from kafka import KafkaProducer
from kafka.errors import KafkaError

from arno.bus.kafka.admin import KafkaTopicAdmin
from arno.bus.kafka.faults import translate
from arno.bus.kafka.settings import producer_config, require_crc32c
from arno.bus.kafka.spread import Spread
from arno.bus.limits import ByteBudget, record_size
from arno.bus.ports import DEAD, Lane, Record, topic_name
from arno.bus.settings import BusSettings
from arno.errors import BackendUnavailableError

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

_CHANNELS = [*(lane.value for lane in Lane), DEAD]
_PING_TIMEOUT_S = 3.0
_FLUSH_TIMEOUT_S = 5.0


class KafkaPublisher:
    """Implements ``Publisher`` on Kafka. Lives in one asyncio loop."""

    def __init__(self, settings: BusSettings) -> None:
        """Take the settings; nothing is connected yet."""
        self._settings = settings
        self._admin = KafkaTopicAdmin(settings)
        # The client's own buffer has no bound.
        self._budget = ByteBudget(settings.publish_buffer_bytes_max)
        self._spreads: dict[str, Spread] = {}
        self._producer: KafkaProducer | None = None
        # A broker that says nothing keeps a thread for up to 30 s. Threads of their own, so that
        # neither question takes those of the process, nor those of the other one; several for the
        # ping, since another broker may answer the next one.
        self._pinging = ThreadPoolExecutor(4, thread_name_prefix="kafka-ping")
        self._counting = ThreadPoolExecutor(1, thread_name_prefix="kafka-unfinished")

    async def start(self) -> None:
        """Connect, check the topics, and learn their partitions."""
        require_crc32c()
        try:
            # Both constructors block until a broker answers, hence the thread.
            self._producer = await asyncio.to_thread(self._connect)
        except BaseException:
            await asyncio.to_thread(self._admin.close)
            raise

    async def publish(self, record: Record, *, timeout_s: float) -> None:
        """Return once Kafka has the record on all in-sync replicas."""
        size_bytes = record_size(record, self._settings.record_bytes_max)
        self._budget.take(size_bytes)
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[None] = loop.create_future()
        settle = partial(self._settle, outcome, size_bytes)
        try:
            sending = self._send(record)
        except BaseException:
            self._budget.give_back(size_bytes)
            raise
        sending.add_callback(lambda _: loop.call_soon_threadsafe(settle, None))
        sending.add_errback(lambda error: loop.call_soon_threadsafe(settle, error))
        try:
            async with asyncio.timeout(timeout_s):
                await outcome
        except TimeoutError as error:
            # It stays in the client's buffer and may still arrive; so does its share of the budget.
            raise BackendUnavailableError(
                f"kafka: not acknowledged within {timeout_s:g} s", timeout_s=f"{timeout_s:g}"
            ) from error

    async def ping(self) -> None:
        """Raise BackendUnavailableError unless a broker answers."""
        await self._ask(self._pinging, self._admin.ping)

    async def unfinished(self) -> Mapping[str, int]:
        """Return how many records of each lane are not committed."""
        found = await self._ask(self._counting, lambda: self._admin.unfinished(list(Lane)))
        for channel, lengths in found.items():
            if lengths:
                self._spreads[channel].hear(lengths)
        return {channel: sum(lengths.values()) for channel, lengths in found.items()}

    async def close(self) -> None:
        """Send what is buffered and disconnect. Idempotent."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await asyncio.to_thread(_close, producer)
        for threads in (self._pinging, self._counting):
            threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._admin.close)

    async def _ask(self, threads: Executor, question: Callable[[], Answer]) -> Answer:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_PING_TIMEOUT_S):
                return await loop.run_in_executor(threads, question)
        except TimeoutError as error:
            raise BackendUnavailableError("kafka: no broker answers") from error

    def _connect(self) -> KafkaProducer:
        self._admin.require(_CHANNELS)
        producer = None
        try:
            producer = KafkaProducer(**producer_config(self._settings))
            for channel in _CHANNELS:
                # A send to a topic without metadata would block the event loop.
                partitions = producer.partitions_for(
                    topic_name(self._settings.topic_prefix, channel)
                )
                self._spreads[channel] = Spread(
                    partitions or {0}, self._settings.tenant_partition_share
                )
        except KafkaError as error:
            if producer is not None:
                _close(producer)
            raise translate(error) from error
        return producer

    # The client is untyped; what it returns is its own future.
    def _send(self, record: Record) -> Any:
        if self._producer is None:
            raise BackendUnavailableError("kafka: the publisher is not started, or closed")
        topic = topic_name(self._settings.topic_prefix, record.channel)
        key = record.spread_key
        try:
            return self._producer.send(
                topic,
                value=record.value,
                headers=list(record.headers.items()),
                partition=self._spreads[record.channel].choose(key) if key else None,
            )
        except KafkaError as error:
            raise translate(error) from error

    def _settle(
        self, outcome: asyncio.Future[None], size_bytes: int, error: KafkaError | None
    ) -> None:
        self._budget.give_back(size_bytes)
        if outcome.done():
            # The caller has gone; its answer was "not acknowledged in time".
            return
        if error is None:
            outcome.set_result(None)
        else:
            outcome.set_exception(translate(error))


def _close(producer: KafkaProducer) -> None:
    try:
        producer.flush(_FLUSH_TIMEOUT_S)
    except KafkaError:
        logger.warning("records that Kafka did not take in time are given up")
        # close() would raise before it ends the thread, so the thread is told first; it fails
        # what is left, and those who wait are told.
        producer._sender.force_close()
        producer._sender.join(_FLUSH_TIMEOUT_S)
    producer.close(_FLUSH_TIMEOUT_S)
