"""A tenant that fills the event loop waits; others, and one that is alone, do not."""

from __future__ import annotations

import asyncio

import pytest
from arno.batching import RecentTenants
from arno.errors import OverloadedError
from arno.gateway.access.loop_share import LoopShare
from support.clock import ManualClock
from support.eventually import eventually_async

CALL_S = 0.01


class Loop:
    """A loop in which every call costs the same, and a clock that stands still."""

    def __init__(self, *, wait_s_max: float = 60.0) -> None:
        self.clock = ManualClock()
        self.busy_s = 0.0
        self.begun: list[str] = []
        self.share = LoopShare(
            0.5,
            recent=RecentTenants(),
            wait_s_max=wait_s_max,
            clock=self.clock,
            thread_s=lambda: self.busy_s,
        )
        self._calls: list[asyncio.Task[None]] = []

    async def call(self, tenant: str) -> None:
        await self.share.turn(tenant)
        self.busy_s += CALL_S
        self.begun.append(tenant)

    async def calls(self, tenant: str, count: int) -> None:
        """Let so many calls arrive at once; those that need not wait have begun on return."""
        self._calls += [asyncio.create_task(self.call(tenant)) for _ in range(count)]
        await asyncio.sleep(0)

    async def learn(self) -> None:
        """Let the share learn what a call costs: 10 ms each, half of the loop's time."""
        for _ in range(40):
            for tenant in ("flood", "people"):
                await self.calls(tenant, 1)
            self.clock.advance(0.1)
        self.begun.clear()

    async def end(self) -> None:
        for each in self._calls:
            each.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)


@pytest.fixture
async def loop():
    made = Loop()
    yield made
    await made.end()


async def test_flood_waits_at_its_share_and_others_begin_at_once(loop: Loop) -> None:
    await loop.learn()
    await loop.calls("flood", 100)
    begun = len(loop.begun)
    # Its part of a tenth of a second, in calls of 10 ms.
    assert 4 <= begun <= 8
    await loop.calls("people", 1)
    assert loop.begun[-1] == "people"


async def test_flood_goes_on_as_fast_as_its_share_allows(loop: Loop) -> None:
    await loop.learn()
    await loop.calls("flood", 100)
    before = len(loop.begun)
    loop.clock.advance(0.1)
    await loop.calls("people", 1)

    async def more() -> bool:
        return len(loop.begun) > before + 1

    await eventually_async(more)
    assert len(loop.begun) <= before + 1 + 8


async def test_tenant_that_is_alone_has_the_whole_loop(loop: Loop) -> None:
    await loop.learn()
    loop.clock.advance(60.0)
    await loop.calls("flood", 100)
    assert loop.begun == ["flood"] * 100


async def test_call_that_waits_for_too_long_is_refused_by_name() -> None:
    loop = Loop(wait_s_max=0.01)
    await loop.learn()
    await loop.calls("flood", 20)
    with pytest.raises(OverloadedError, match="tenant_loop_share"):
        await loop.share.turn("flood")
    await loop.end()


async def test_callers_that_have_left_cost_no_turn(loop: Loop) -> None:
    await loop.learn()
    await loop.calls("flood", 100)
    before = len(loop.begun)
    await loop.end()
    await loop.calls("flood", 1)
    loop.clock.advance(0.1)

    async def begun() -> bool:
        return len(loop.begun) > before

    await eventually_async(begun)


async def test_calls_that_wait_do_not_make_those_of_others_dearer(loop: Loop) -> None:
    await loop.learn()
    for number in range(1, 20):
        await loop.calls("flood", 20)
        loop.busy_s += 20 * 0.004
        await loop.calls("people", 3)
        assert loop.begun.count("people") == 3 * number
        loop.clock.advance(0.1)
