"""Turns what the Redis client raises into the one fault that callers know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError, ResponseError

from arno.errors import BackendUnavailableError

REDIS_FAULTS = (RedisError, OSError)
"""Everything that the client raises when Redis is away, slow, full or refuses a command."""


@contextmanager
def translated(purpose: str) -> Iterator[None]:
    """Raise BackendUnavailableError where Redis fails, and say what was being done.

    Args:
        purpose: Completes "the result store could not ...".
    """
    try:
        yield
    except REDIS_FAULTS as error:
        cause = str(error) or type(error).__name__
        raise BackendUnavailableError(
            f"the result store could not {purpose}: {cause}",
            backend="redis",
            fault=type(error).__name__,
        ) from error


def is_foreign(error: ResponseError) -> bool:
    """Whether a key holds something that Arno does not keep there: what belongs there is lost."""
    return str(error).startswith("WRONGTYPE")
