"""Builds the Redis clients: commands of a gateway, its one blocking reader, commands of a worker.

Every script may run twice with the same effect, so a command whose reply was lost is sent again.
The blocking reader never retries in silence, because after a lost connection it has to sweep.
"""

from __future__ import annotations

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry

from arno.results.settings import ResultSettings

RESENDS_MAX = 3
UNQUEUED_COUNT_MAX = 3
RESEND_BACKOFF = ExponentialBackoff(cap=0.2, base=0.02)


def command_client(settings: ResultSettings) -> redis.asyncio.Redis:
    """Return a gateway's client, whose callers take turns; sweeps and pings come beside them.

    The client's own blocking pool is not fair: with 2,000 callers on 16 connections some got none
    within 5 s.
    """
    pool = redis.asyncio.ConnectionPool.from_url(
        settings.redis_url,
        **settings.redis_options(),
        max_connections=settings.redis_connection_count_max + UNQUEUED_COUNT_MAX,
        socket_timeout=settings.redis_timeout_s,
        socket_connect_timeout=settings.redis_connect_timeout_s,
        retry=AsyncRetry(RESEND_BACKOFF, RESENDS_MAX),
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


def writing_client(settings: ResultSettings) -> redis.Redis:
    """Return a worker's client; its threads share the connections."""
    pool = redis.BlockingConnectionPool.from_url(
        settings.redis_url,
        **settings.redis_options(),
        max_connections=settings.redis_connection_count_max,
        timeout=settings.redis_timeout_s,
        socket_timeout=settings.redis_timeout_s,
        socket_connect_timeout=settings.redis_connect_timeout_s,
        retry=Retry(RESEND_BACKOFF, RESENDS_MAX),
    )
    return redis.Redis.from_pool(pool)
