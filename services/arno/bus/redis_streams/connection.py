"""Connections to Redis, and what its faults mean to callers."""

from __future__ import annotations

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from arno.bus.settings import BusSettings
from arno.errors import ArnoError, BackendUnavailableError, ConfigurationError

SOCKET_TIMEOUT_S = 5.0
"""Longest wait for an answer; every blocking read must be shorter."""

_PUBLISHER_CONNECTIONS_MAX = 16
_MISCONFIGURED = (
    redis.AuthenticationError,
    redis.exceptions.AuthorizationError,
    redis.exceptions.NoPermissionError,
)


def connect(settings: BusSettings) -> redis.Redis:
    """Return a blocking client that repeats nothing itself: the consumer decides what to repeat."""
    return redis.Redis.from_url(
        settings.redis_url,
        **settings.redis_options(),
        # The shapes of replies to stream commands differ between the protocol's versions.
        protocol=2,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=SOCKET_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )


def connect_async(settings: BusSettings) -> redis.asyncio.Redis:
    """Return a client for an asyncio loop, with a bound on its connections."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        settings.redis_url,
        **settings.redis_options(),
        max_connections=_PUBLISHER_CONNECTIONS_MAX,
        # The publisher's own timeout ends the wait for a connection.
        timeout=None,
        protocol=2,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=SOCKET_TIMEOUT_S,
        retry=redis.asyncio.retry.Retry(NoBackoff(), 0),
    )
    return redis.asyncio.Redis.from_pool(pool)


def unreachable(fault: redis.RedisError) -> bool:
    """Return whether Redis cannot be reached at present, so that the call may succeed later."""
    lost = isinstance(fault, redis.ConnectionError | redis.TimeoutError)
    return lost and not isinstance(fault, _MISCONFIGURED)


def group_missing(fault: redis.RedisError) -> bool:
    """Return whether the consumer group is gone: removed, or Redis came back empty."""
    return isinstance(fault, redis.ResponseError) and str(fault).startswith(
        ("NOGROUP", "UNBLOCKED")
    )


def translate(fault: redis.RedisError) -> ArnoError:
    """Return the error to raise for a fault of the client or the server."""
    name = type(fault).__name__
    if isinstance(fault, _MISCONFIGURED) or str(fault).startswith(("WRONGTYPE", "NOAUTH")):
        return ConfigurationError(f"redis: {fault}", fault=name)
    return BackendUnavailableError(f"redis: {fault}", fault=name)
