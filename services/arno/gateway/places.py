"""Bound how many of one kind are open at once: all calls of the gateway, and its streams."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from arno.errors import OverloadedError


class Places:
    """So many places, and no line for them. Lives in one asyncio loop; never waits."""

    def __init__(self, what: str, *, limit_name: str, limit: int, retry_delay_s: float) -> None:
        """Start with all places free.

        Args:
            what: Takes the places, in the plural; callers are told.
            limit_name: The setting that says how many places there are; callers are told.
            limit: That setting.
            retry_delay_s: What refused callers are told to wait.
        """
        self._what = what
        self._limit_name = limit_name
        self._limit = limit
        self._retry_delay_s = retry_delay_s
        self._taken_count = 0

    @property
    def taken_count(self) -> int:
        """Places that are taken now."""
        return self._taken_count

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold a place for as long as the block runs.

        Raises:
            OverloadedError: All are taken. Retryable.
        """
        wanted_count = self._taken_count + 1
        if wanted_count > self._limit:
            raise OverloadedError(
                f"the gateway is full: open {self._what} would be {wanted_count}; "
                f"allowed: {self._limit} ({self._limit_name})",
                retry_delay_s=self._retry_delay_s,
                budget=self._what,
                limit=str(self._limit),
                wanted=str(wanted_count),
            )
        self._taken_count = wanted_count
        try:
            yield
        finally:
            self._taken_count -= 1
