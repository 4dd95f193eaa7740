"""One tenant leaves as many slots to others as they needed lately, and none where it is alone."""

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


def test_tenant_that_is_alone_has_all_slots():
    assert reserve(flood=50).most("flood", SLOTS) == SLOTS


@pytest.mark.parametrize(("needed", "most"), [(1, 7), (3, 5), (4, 4), (50, 4)])
def test_tenant_leaves_what_others_need_up_to_its_share(needed, most):
    assert reserve(flood=50, people=needed).most("flood", SLOTS) == most


def test_several_others_share_what_is_left_to_them():
    assert reserve(flood=50, one=1, two=2).most("flood", SLOTS) == 5
    assert reserve(flood=50, one=3, two=3).most("flood", SLOTS) == 4


@pytest.mark.parametrize("needed", [1, 2, 4])
def test_need_is_the_most_of_the_last_seconds_and_is_forgotten_the_sooner_the_more_it_was(needed):
    made = reserve(flood=50, people=needed)
    until_s = 100.0 + KEPT_SLOT_S / needed
    made.note({"flood": 50, "people": needed}, 100.0)
    made.note({"flood": 50}, until_s)
    assert made.most("flood", SLOTS) == SLOTS - needed
    made.note({"flood": 50}, until_s + 0.1)
    assert made.most("flood", SLOTS) == SLOTS


def test_flood_that_is_gone_holds_nobody_up():
    made = reserve(flood=50, people=5)
    assert made.most("people", SLOTS) == 4
    made.note({"people": 5}, 100.1 + KEPT_SLOT_S / 50)
    assert made.most("people", SLOTS) == SLOTS


@pytest.mark.parametrize("slots", [1, 2])
def test_tenant_always_has_one_slot(slots):
    assert reserve(0.9, flood=50, people=50).most("flood", slots) == 1


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
