"""Turns what the Redis client raises into the two faults that callers know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError, ResponseError

from arno.errors import BackendUnavailableError, StoredJobError

REDIS_FAULTS = (RedisError, OSError)
"""Everything that the client raises when Redis is away, slow, full or refuses a command."""

# What a command or a script says of values that it cannot use. Other refusals, such as LOADING,
# OOM, READONLY or NOPERM, pass by themselves or when somebody has changed a setting.
_OF_THE_DATA = ("WRONGTYPE", "is not an integer", "is not a valid", "attempt to ")


@contextmanager
def translated(purpose: str) -> Iterator[None]:
    """Raise BackendUnavailableError where Redis fails, and say what was being done.

    Args:
        purpose: Completes "the result store could not ...".
    """
    try:
        yield
    except REDIS_FAULTS as error:
        raise BackendUnavailableError(
            _sentence(purpose, error), backend="redis", fault=type(error).__name__
        ) from error


@contextmanager
def translated_for_job(purpose: str) -> Iterator[None]:
    """Do what ``translated`` does, but raise StoredJobError where asking again cannot help."""
    with translated(purpose):
        try:
            yield
        except ResponseError as error:
            if any(mark in str(error) for mark in _OF_THE_DATA):
                raise StoredJobError(_sentence(purpose, error)) from error
            raise


def _sentence(purpose: str, error: Exception) -> str:
    return f"the result store could not {purpose}: {str(error) or type(error).__name__}"


def is_foreign(error: ResponseError) -> bool:
    """Whether a key holds something that Arno does not keep there: what belongs there is lost."""
    return str(error).startswith("WRONGTYPE")
