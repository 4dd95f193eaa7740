"""A periodic task goes on after errors and stops when it is closed."""

from __future__ import annotations

import asyncio
import contextlib

from arno.ops.periodic import PeriodicTask
from support.eventually import eventually_async


async def test_task_goes_on_after_an_error_until_it_is_closed(caplog) -> None:
    rounds: list[int] = []

    async def run() -> None:
        rounds.append(len(rounds))
        if len(rounds) == 1:
            raise RuntimeError("once")

    async def three_rounds() -> bool:
        return len(rounds) >= 3

    task = PeriodicTask("the test", run, interval_s=0.001)
    task.start()
    await eventually_async(three_rounds)
    await task.close()
    await task.close()
    assert "the test failed" in caplog.text


async def test_task_ends_although_a_round_swallows_its_cancellation() -> None:
    began, never = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        began.set()
        with contextlib.suppress(asyncio.CancelledError):
            await never.wait()

    task = PeriodicTask("the test", run, interval_s=60.0)
    task.start()
    await began.wait()
    async with asyncio.timeout(10):
        await task.close()


async def test_task_that_was_never_started_can_be_closed() -> None:
    async def run() -> None:
        raise AssertionError

    await PeriodicTask("the test", run, interval_s=1.0).close()
