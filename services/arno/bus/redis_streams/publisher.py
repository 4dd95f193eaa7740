"""Puts records on Redis Streams from an asyncio loop.

A record counts as published when Redis has answered its XADD. How much of that survives the server
is the server's setting: with ``appendonly yes`` and ``appendfsync always``, everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any

import redis
import redis.asyncio

from arno.bus.limits import ByteBudget, record_size
from arno.bus.ports import DEAD_LETTERS, Record, topic_name
from arno.bus.redis_streams.admin import RedisStreamsAdmin
from arno.bus.redis_streams.connection import connect_async, translate, unreachable
from arno.bus.redis_streams.entries import fields_of
from arno.bus.settings import BusSettings
from arno.errors import BackendUnavailableError
from arno.ops.cancellation import raise_if_cancelled
from arno.vocabulary import Lane

_RETRY_PAUSE_S = 0.05
_PING_TIMEOUT_S = 3.0


class RedisStreamsPublisher:
    """Implements ``Publisher`` on Redis Streams. Lives in one asyncio loop."""

    def __init__(self, settings: BusSettings) -> None:
        """Take the settings; nothing is connected yet."""
        self._settings = settings
        self._budget = ByteBudget(settings.publish_buffer_bytes_max)
        self._client: redis.asyncio.Redis | None = None

    async def start(self) -> None:
        """Connect and check the streams."""
        await asyncio.to_thread(self._check_streams)
        self._client = connect_async(self._settings)

    async def publish(self, record: Record, *, timeout_s: float) -> None:
        """Return once Redis has the record."""
        size_bytes = record_size(record, self._settings.record_bytes_max)
        client = self._started()
        self._budget.take(size_bytes)
        try:
            async with asyncio.timeout(timeout_s):
                await self._append(client, record)
        except TimeoutError as error:
            raise BackendUnavailableError(
                f"redis: not acknowledged within {timeout_s:g} s", timeout_s=f"{timeout_s:g}"
            ) from error
        except redis.RedisError as fault:
            raise translate(fault) from fault
        finally:
            self._budget.give_back(size_bytes)

    async def ping(self) -> None:
        """Raise BackendUnavailableError unless Redis answers."""
        await self._ask(self._started().ping())

    async def unfinished(self) -> Mapping[str, int]:
        """Return how long the stream of each lane is: entries that are done are deleted."""
        trip = self._started().pipeline(transaction=False)
        for lane in Lane:
            trip.xlen(topic_name(self._settings.topic_prefix, lane))
        return dict(zip(Lane, await self._ask(trip.execute()), strict=True))

    def share_ahead(self, channel: str, spread_key: str) -> float:
        """Return 1: a stream is one line, in which every tenant waits for all others."""
        return 1.0

    async def close(self) -> None:
        """Disconnect; nothing is buffered. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _append(self, client: redis.asyncio.Redis, record: Record) -> None:
        key = topic_name(self._settings.topic_prefix, record.channel)
        while True:
            # The time-out comes once: swallowed, it would leave a caller here until Redis is back.
            raise_if_cancelled()
            try:
                await client.xadd(key, fields_of(record))
            except redis.RedisError as fault:
                if not unreachable(fault):
                    raise
            else:
                return
            # Where only the answer was lost, the record is now appended twice.
            await asyncio.sleep(_RETRY_PAUSE_S)

    async def _ask(self, question: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(_PING_TIMEOUT_S):
                return await question
        except TimeoutError as error:
            raise BackendUnavailableError("redis: no answer") from error
        except redis.RedisError as fault:
            raise translate(fault) from fault

    def _check_streams(self) -> None:
        admin = RedisStreamsAdmin(self._settings)
        try:
            admin.require([*(lane.value for lane in Lane), DEAD_LETTERS])
        finally:
            admin.close()

    def _started(self) -> redis.asyncio.Redis:
        if self._client is None:
            raise BackendUnavailableError("redis: the publisher is not started, or closed")
        return self._client
