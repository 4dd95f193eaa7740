"""Slots go to the waiting tenant with the fewest; none takes more than its share."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest
from arno.gateway.fair_slots import FairSlots
from arno.vocabulary import DEFAULT_TENANT
from hypothesis import given
from hypothesis import strategies as st


class Holder:
    """A caller that holds a slot until it is let go."""

    def __init__(self, slots: FairSlots, tenant: str, order: list[str]) -> None:
        self._leave = asyncio.Event()
        self.has_slot = False
        self._task = asyncio.ensure_future(self._hold(slots, tenant, order))

    async def _hold(self, slots: FairSlots, tenant: str, order: list[str]) -> None:
        async with slots.hold(tenant):
            self.has_slot = True
            order.append(tenant)
            await self._leave.wait()

    async def leave(self) -> None:
        self._leave.set()
        await self._task

    async def give_up(self, *, as_leaves: Holder | None = None) -> None:
        """Give up, in the same turn of the loop in which another leaves where one is given."""
        if as_leaves is not None:
            as_leaves._leave.set()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def holders(slots: FairSlots, tenants: Sequence[str], order: list[str]) -> list[Holder]:
    made = [Holder(slots, tenant, order) for tenant in tenants]
    await asyncio.sleep(0)
    return made


async def test_free_slot_goes_to_the_tenant_with_the_fewest_and_not_to_the_first() -> None:
    slots, order = FairSlots(2, tenant_share=1.0), list[str]()
    flood = await holders(slots, ["hostile"] * 5, order)
    people = await holders(slots, ["people"] * 2, order)
    await flood[0].leave()
    await asyncio.sleep(0)
    assert order == ["hostile", "hostile", "people"]
    for each in (*flood[1:], *people):
        await each.leave()
    assert Counter(order) == {"hostile": 5, "people": 2}
    assert slots.used_count == 0


async def test_one_tenant_leaves_slots_to_another_however_long_it_holds_its_own() -> None:
    slots, order = FairSlots(4, tenant_share=0.5), list[str]()
    flood = await holders(slots, ["hostile"] * 9, order)
    assert slots.used_count == 2
    [mine] = await holders(slots, ["people"], order)
    assert mine.has_slot
    for each in (*flood, mine):
        await each.leave()
    assert slots.used_count == 0


async def test_callers_without_a_tenant_may_use_all() -> None:
    slots, order = FairSlots(4, tenant_share=0.5), list[str]()
    made = await holders(slots, [DEFAULT_TENANT] * 4, order)
    assert slots.used_count == 4
    for each in made:
        await each.leave()


async def test_slot_that_does_not_come_in_time_is_not_used() -> None:
    slots, order = FairSlots(1, tenant_share=1.0), list[str]()
    [held] = await holders(slots, ["a"], order)
    with pytest.raises(TimeoutError):
        async with slots.hold("b", timeout_s=0.001):
            pass
    await held.leave()
    assert slots.used_count == 0
    async with slots.hold("b", timeout_s=0.001):
        assert slots.used_count == 1


async def test_slot_passes_over_a_caller_that_gives_up_in_the_same_turn_of_the_loop() -> None:
    slots, order = FairSlots(1, tenant_share=1.0), list[str]()
    held, gone, waiting = await holders(slots, ["a", "b", "c"], order)
    await gone.give_up(as_leaves=held)
    await held.leave()
    assert order == ["a", "c"]
    assert slots.used_count == 1
    await waiting.leave()
    assert slots.used_count == 0


@given(st.integers(1, 5), st.sampled_from([0.3, 0.5, 1.0]), st.data())
def test_all_get_a_slot_in_the_end_and_bounds_hold(
    count: int, share: float, data: st.DataObject
) -> None:
    async def play() -> None:
        slots, order = FairSlots(count, tenant_share=share), list[str]()
        made: list[Holder] = []
        expected = Counter[str]()
        for _ in range(data.draw(st.integers(1, 30))):
            deed = data.draw(st.sampled_from(["come", "come", "leave", "give up"]))
            waiting = [each for each in made if not each.has_slot]
            holding = [each for each in made if each.has_slot]
            if deed == "come":
                name = data.draw(st.sampled_from("abc"))
                expected[name] += 1
                made += await holders(slots, [name], order)
            elif deed == "leave" and holding:
                made.remove(left := data.draw(st.sampled_from(holding)))
                await left.leave()
            elif deed == "give up" and waiting:
                made.remove(gone := data.draw(st.sampled_from(waiting)))
                await gone.give_up()
            await asyncio.sleep(0)
            used = sum(each.has_slot for each in made)
            assert used == slots.used_count <= count
        while made:
            first = next(each for each in made if each.has_slot)
            made.remove(first)
            await first.leave()
            await asyncio.sleep(0)
        assert slots.used_count == 0
        assert all(times <= expected[name] for name, times in Counter(order).items())

    asyncio.run(play())
