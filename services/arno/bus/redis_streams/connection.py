"""Connections to Redis, and what its faults mean to Arno's callers."""

from __future__ import annotations

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from arno.bus.settings import BusSettings
from arno.errors import ArnoError, BackendUnavailableError, ConfigurationError

SOCKET_TIMEOUT_S = 5.0
"""Longest silence of a connection; every blocking read must be shorter."""

_PUBLISHER_CONNECTIONS_MAX = 16
_MISCONFIGURED = (
    redis.AuthenticationError,
    redis.exceptions.AuthorizationError,
    redis.exceptions.NoPermissionError,
)


def connect(settings: BusSettings) -> redis.Redis:
    """Return a blocking client that tells of every fault: the consumer decides what to repeat."""
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


def away(error: redis.RedisError) -> bool:
    """Whether Redis cannot be reached just now, so that the same call may succeed later."""
    lost = isinstance(error, redis.ConnectionError | redis.TimeoutError)
    return lost and not isinstance(error, _MISCONFIGURED)


def group_missing(error: redis.RedisError) -> bool:
    """Whether the consumer group is gone: Redis came back empty, or somebody removed it."""
    return isinstance(error, redis.ResponseError) and str(error).startswith(
        ("NOGROUP", "UNBLOCKED")
    )


def foreign_key(error: redis.RedisError) -> bool:
    """Whether something else stands where a stream should: until somebody removes it."""
    return str(error).startswith("WRONGTYPE")


def translate(error: redis.RedisError) -> ArnoError:
    """Return what to raise for a fault of the client or the server."""
    fault = type(error).__name__
    if isinstance(error, _MISCONFIGURED) or str(error).startswith(("WRONGTYPE", "NOAUTH")):
        return ConfigurationError(f"redis: {error}", fault=fault)
    return BackendUnavailableError(f"redis: {error}", fault=fault)
