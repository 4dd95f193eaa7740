"""Waiting for something to become true, with a deadline: the one place that may sleep."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Value = TypeVar("Value")


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
        timeout_s: After this the test fails; on a healthy machine it is never reached.
        interval_s: Pause between calls.
        what: The rule in words, for the failure message.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() >= deadline_s:
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
    last, grown_at_s = count(), time.monotonic()
    while last < wanted:
        now, now_s = count(), time.monotonic()
        if now > last:
            last, grown_at_s = now, now_s
        elif now_s - grown_at_s >= stalled_s:
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
    deadline_s = time.monotonic() + timeout_s
    while True:
        value = await probe()
        if value:
            return value
        if time.monotonic() >= deadline_s:
            raise AssertionError(_failure(what, timeout_s, value))
        await asyncio.sleep(interval_s)


def _failure(what: str, timeout_s: float, value: object) -> str:
    return f"not within {timeout_s:g} s: {what or 'the condition'}; last seen: {value!r}"
