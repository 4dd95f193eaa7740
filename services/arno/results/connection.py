"""Connections to the Redis of the result store, and what its errors mean to callers.

Every script may run twice with the same effect, so a command whose reply was lost is sent again.
The reader of wake-ups never retries by itself, because it has to sweep after a lost connection.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError
from redis.retry import Retry

from arno.errors import BackendFullError, BackendUnavailableError, StoredJobError
from arno.results.settings import ResultSettings

logger = logging.getLogger(__name__)

REDIS_FAULTS: Final = (RedisError, OSError)
"""Everything that the client raises when Redis is away, slow, full or refuses a command."""

_RESENDS_MAX: Final = 3
_RESEND_BACKOFF: Final = ExponentialBackoff(cap=0.2, base=0.02)
_UNQUEUED_COUNT_MAX: Final = 3
"""Connections beside those that callers queue for: for sweeps and pings."""

# What a command or a script answers where it cannot use a stored value. Other refusals, such as
# LOADING, OOM, READONLY or NOPERM, pass by themselves or after a change of settings.
_VALUE_FAULTS: Final = ("WRONGTYPE", "is not an integer", "is not a valid", "attempt to ")

_FULL: Final = "OOM command not allowed"

_SAFE_SETTINGS: Final = {
    "appendonly": "yes",
    "appendfsync": "always",
    "maxmemory-policy": "noeviction",
}
"""See "Redis must sync before it answers" in docs/delivery.md."""


def command_client(settings: ResultSettings) -> redis.asyncio.Redis:
    """Return a gateway's client for commands; the callers must queue for its connections.

    The client's own blocking pool is not fair: with 2,000 callers on 16 connections some got none
    within 5 s.
    """
    pool = redis.asyncio.ConnectionPool.from_url(
        settings.redis_url,
        **settings.redis_options(),
        max_connections=settings.redis_connection_count_max + _UNQUEUED_COUNT_MAX,
        socket_timeout=settings.redis_timeout_s,
        socket_connect_timeout=settings.redis_connect_timeout_s,
        retry=AsyncRetry(_RESEND_BACKOFF, _RESENDS_MAX),
    )
    return redis.asyncio.Redis.from_pool(pool)


def reading_client(settings: ResultSettings) -> redis.asyncio.Redis:
    """Return the client of the one connection on which a gateway waits for wake-ups."""
    return redis.asyncio.Redis.from_url(
        settings.redis_url,
        **settings.redis_options(),
        max_connections=1,
        socket_timeout=settings.redis_timeout_s,
        socket_connect_timeout=settings.redis_connect_timeout_s,
        retry=AsyncRetry(NoBackoff(), 0),
    )


def worker_client(settings: ResultSettings) -> redis.Redis:
    """Return a worker's client; its threads share the connections."""
    pool = redis.BlockingConnectionPool.from_url(
        settings.redis_url,
        **settings.redis_options(),
        max_connections=settings.redis_connection_count_max,
        timeout=settings.redis_timeout_s,
        socket_timeout=settings.redis_timeout_s,
        socket_connect_timeout=settings.redis_connect_timeout_s,
        retry=Retry(_RESEND_BACKOFF, _RESENDS_MAX),
    )
    return redis.Redis.from_pool(pool)


@contextmanager
def translated(purpose: str) -> Iterator[None]:
    """Raise BackendUnavailableError where Redis fails, BackendFullError where it has no memory.

    Args:
        purpose: Completes "the result store could not ...".
    """
    try:
        yield
    except REDIS_FAULTS as fault:
        # Inside a script Redis 6.2 calls it a failure of the script.
        if isinstance(fault, OutOfMemoryError) or _FULL in str(fault):
            raise BackendFullError(
                f"the result store is full: it could not {purpose}", backend="redis"
            ) from fault
        raise BackendUnavailableError(
            _sentence(purpose, fault), backend="redis", fault=type(fault).__name__
        ) from fault


@contextmanager
def translated_for_job(purpose: str) -> Iterator[None]:
    """Do what ``translated`` does, but raise StoredJobError where asking again cannot help."""
    with translated(purpose):
        try:
            yield
        except ResponseError as fault:
            if any(mark in str(fault) for mark in _VALUE_FAULTS):
                raise StoredJobError(_sentence(purpose, fault)) from fault
            raise


async def warn_of_unsafe_settings(client: redis.asyncio.Redis) -> None:
    """Log a warning for each setting of Redis with which accepted jobs or results can be lost."""
    try:
        found = await client.config_get("append*")
        found |= await client.config_get("maxmemory-policy")
    except REDIS_FAULTS:
        # A hosted Redis, or a user with few rights, does not show its settings.
        return
    for name, safe in _SAFE_SETTINGS.items():
        present = found.get(name, safe)
        if present != safe:
            logger.warning(
                "Redis has %s %s, with which it can lose what was accepted: %s is safe",
                name,
                present,
                safe,
            )


def _sentence(purpose: str, fault: Exception) -> str:
    return f"the result store could not {purpose}: {str(fault) or type(fault).__name__}"
