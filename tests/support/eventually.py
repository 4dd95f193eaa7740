"""Waiting for something to become true, with a deadline: the one place that may sleep.

Deadlines are in seconds of a machine with a free core. Where more threads want to run than there
are cores, every second counts as much less: a slow answer of a busy machine is no failure. The time
limits of whole tests count likewise (``tests/conftest.py``).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Value = TypeVar("Value")


class Patience:
    """How much is left of a deadline, in seconds of a machine with a free core."""

    def __init__(self, seconds: float) -> None:
        self.left_s = seconds
        self._seen_s = time.monotonic()

    def spend(self) -> bool:
        """Take off the time since the last call, and return whether anything is left."""
        now_s = time.monotonic()
        waiting = os.getloadavg()[0] / (os.cpu_count() or 1)
        self.left_s -= (now_s - self._seen_s) / max(1.0, waiting)
        self._seen_s = now_s
        return self.left_s > 0


def eventually(
    probe: Callable[[], Value],
    *,
    timeout_s: float = 30.0,
    interval_s: float = 0.02,
    what: str = "",
) -> Value:
    """Call the probe until what it returns is true, and return that.

    Args:
        probe: Cheap and repeatable; what must be driven meanwhile (a poll) can be driven here.
        timeout_s: After this the test fails; it is never reached where the code is right.
        interval_s: Pause between calls.
        what: The rule in words, for the failure message.
    """
    patience = Patience(timeout_s)
    while True:
        value = probe()
        if value:
            return value
        if not patience.spend():
            raise AssertionError(_failure(what, timeout_s, value))
        time.sleep(interval_s)


def once_it_reaches(
    wanted: int, count: Callable[[], int], *, stalled_s: float = 120.0, interval_s: float = 0.05
) -> None:
    """Wait until a count that grows reaches a number.

    Args:
        wanted: The number.
        count: Cheap and repeatable.
        stalled_s: The test fails when the count has not grown for this long: a busy machine may
            take any time as long as it advances.
        interval_s: Pause between calls.
    """
    last, patience = count(), Patience(stalled_s)
    while last < wanted:
        now = count()
        if now > last:
            last, patience = now, Patience(stalled_s)
        elif not patience.spend():
            raise AssertionError(f"stalled for {stalled_s:g} s at {last}, before {wanted}")
        time.sleep(interval_s)


async def eventually_async(
    probe: Callable[[], Awaitable[Value]],
    *,
    timeout_s: float = 30.0,
    interval_s: float = 0.02,
    what: str = "",
) -> Value:
    """Do what ``eventually`` does, with a probe that is awaited."""
    patience = Patience(timeout_s)
    while True:
        value = await probe()
        if value:
            return value
        if not patience.spend():
            raise AssertionError(_failure(what, timeout_s, value))
        await asyncio.sleep(interval_s)


def _failure(what: str, timeout_s: float, value: object) -> str:
    return f"not within {timeout_s:g} s: {what or 'the condition'}; last seen: {value!r}"
