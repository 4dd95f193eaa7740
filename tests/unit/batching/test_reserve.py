"""Slots stay free for what tenants needed lately; a flood keeps none, nor has any kept for it."""

from __future__ import annotations

from collections import Counter

import pytest
from arno.batching import Budget, LanePolicy, Scheduler
from arno.batching.reserve import KEPT_SLOT_S, SlotReserve
from support.waiting import Waiting

SLOTS = 8


def reserve(share: float = 0.5, **counts: int) -> SlotReserve:
    made = SlotReserve(share)
    made.note(counts, 100.0)
    return made


def most(made: SlotReserve, tenant: str, slots: int = SLOTS, **started: int) -> int:
    """Return how many sequences a tenant may have that starts all it may."""
    running = Counter(started)
    while running.total() < slots and made.rule(running, slots)(tenant):
        running[tenant] += 1
    return running[tenant]


def test_tenant_that_is_alone_has_all_slots():
    assert most(reserve(flood=50), "flood") == SLOTS


@pytest.mark.parametrize(("needed", "left"), [(1, 7), (3, 5), (4, 4)])
def test_tenant_leaves_what_others_need(needed, left):
    assert most(reserve(flood=50, people=needed), "flood") == left


def test_tenant_leaves_no_more_than_the_share():
    made = reserve(0.25, flood=50, people=4)
    assert most(made, "flood") == 6
    assert most(made, "flood", people=2) == 4, "what others have beyond the share is theirs"
    assert most(made, "flood", people=4) == 4


def test_what_others_have_is_not_kept_for_them_as_well():
    made = reserve(flood=50, people=3)
    assert most(made, "flood", people=2) == 5
    assert most(made, "flood", people=3) == 5
    assert made.rule({"flood": 5, "people": 2}, SLOTS)("people")


def test_several_others_share_what_is_left_to_them():
    assert most(reserve(flood=50, one=1, two=2), "flood") == 5
    assert most(reserve(flood=50, one=2, two=2), "flood") == 4


def test_nothing_is_kept_for_a_flood():
    made = reserve(flood=50, people=4)
    assert most(made, "people", flood=4) == 4
    assert most(made, "people") == SLOTS


def test_floods_keep_nothing_from_each_other_and_leave_what_a_third_needs():
    made = reserve(one=50, two=50, people=2)
    assert most(made, "one", two=3) == 3
    assert not made.rule({"one": 3, "two": 3}, SLOTS)("two")
    assert made.rule({"one": 3, "two": 3, "people": 1}, SLOTS)("people")


def test_burst_is_no_flood():
    made = SlotReserve(0.5)
    for tenth in range(601):
        counts = {"flood": 50, "people": 20 if tenth % 100 == 0 else 1}
        made.note(counts, 100.0 + tenth / 10)
    assert most(made, "flood") == 4


def test_tenant_that_asks_for_more_than_its_share_for_a_while_is_a_flood():
    made = reserve(flood=50, people=4)
    for tenth in range(100):
        made.note({"flood": 50, "people": 20}, 100.0 + tenth / 10)
    assert most(made, "flood", people=1) == SLOTS - 1


def test_burst_leaves_what_others_need_from_its_first_moment():
    made = reserve(busy=1, people=3)
    made.note({"busy": 30, "people": 0}, 100.01)
    assert most(made, "busy") == SLOTS - 3


def test_tenant_that_is_no_flood_has_as_many_slots_as_the_others_whatever_these_needed():
    made = reserve(busy=1, people=1)
    made.note({"busy": 4, "people": 8}, 100.01)
    made.note({"busy": 8, "people": 0}, 100.02)
    # Of what the people needed four slots would be kept, and three are free.
    assert made.rule({"busy": 3, "people": 2}, SLOTS)("busy")
    assert not made.rule({"busy": 4, "people": 1}, SLOTS)("busy")


@pytest.mark.parametrize("needed", [1, 2, 4])
def test_need_is_the_most_of_the_last_seconds_and_is_forgotten_the_sooner_the_more_it_was(needed):
    made = reserve(flood=50, people=needed)
    until_s = 100.0 + KEPT_SLOT_S / needed
    made.note({"flood": 50, "people": needed}, 100.0)
    made.note({"flood": 50}, until_s)
    assert most(made, "flood") == SLOTS - needed
    made.note({"flood": 50}, until_s + 0.1)
    assert most(made, "flood") == SLOTS


@pytest.mark.parametrize("slots", [1, 2])
def test_tenant_always_has_one_slot(slots):
    assert most(reserve(0.9, flood=50, people=1), "flood", slots) == 1


def flooded(share: float) -> Scheduler[Waiting]:
    scheduler: Scheduler[Waiting] = Scheduler(LanePolicy(), reserve_share=share)
    for number in range(20):
        lane = "batch" if number % 2 else "interactive"
        scheduler.admit(Waiting(f"flood-{number}", lane=lane, tenant="flood"))
    return scheduler


@pytest.mark.parametrize(("share", "started"), [(0.5, 6), (0.0, 8)])
def test_flood_leaves_the_slots_that_another_needed_a_moment_ago(share, started):
    scheduler = flooded(share)
    for number in range(2):
        scheduler.admit(Waiting(f"people-{number}", tenant="people"))
    first = Counter(each.tenant for each in scheduler.schedule(Budget(SLOTS, slots=SLOTS), 0.0))
    assert first == {"people": 2, "flood": 6}
    # The people's sequences have ended.
    left = Budget(2, slots=SLOTS, started={"flood": 6})
    assert scheduler.any_may_start(left, 1.0) == (started == SLOTS)
    assert len(scheduler.schedule(left, 1.0)) == started - 6


def test_slots_that_are_kept_go_to_the_other_at_once_in_whatever_lane():
    scheduler = flooded(0.5)
    scheduler.admit(Waiting("first", tenant="people"))
    scheduler.schedule(Budget(SLOTS, slots=SLOTS), 0.0)
    scheduler.admit(Waiting("second", lane="batch", tenant="people"))
    left = Budget(1, slots=SLOTS, started={"flood": 7})
    assert [each.name for each in scheduler.schedule(left, 1.0)] == ["second"]


def test_callers_without_tenants_leave_no_slot():
    scheduler: Scheduler[Waiting] = Scheduler(LanePolicy(), reserve_share=0.5)
    for number in range(20):
        scheduler.admit(Waiting(f"{number}"))
    assert len(scheduler.schedule(Budget(SLOTS, slots=SLOTS), 0.0)) == SLOTS
