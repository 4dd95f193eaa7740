"""The rules of the queue, on a clock that the test turns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import pytest
from arno.batching import Budget, LanePolicy, Scheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import ManualClock
from support.waiting import Waiting

LANES = ("interactive", "stream", "batch")


def scheduler_with(*waiting: Waiting, policy: LanePolicy | None = None) -> Scheduler[Waiting]:
    scheduler: Scheduler[Waiting] = Scheduler(policy or LanePolicy())
    for each in waiting:
        scheduler.admit(each)
    return scheduler


def names(group: Iterable[Waiting]) -> list[str]:
    return [each.name for each in group]


def next_name(scheduler: Scheduler[Waiting], now_s: float = 0.0) -> str:
    (started,) = scheduler.schedule(Budget(1), now_s)
    return started.name


def test_nothing_waits_and_nothing_starts():
    assert Scheduler(LanePolicy()).schedule(Budget(4), 0.0) == []


def test_a_group_is_of_any_lanes_and_tenants_in_the_order_of_their_claims():
    scheduler = scheduler_with(
        Waiting("a"), Waiting("b"), Waiting("c", tenant="u"), Waiting("d", lane="batch")
    )
    assert names(scheduler.schedule(Budget(4), 0.0)) == ["a", "d", "c", "b"]
    assert len(scheduler) == 0


def test_withdrawn_sequences_never_start():
    gone, stays = Waiting("gone"), Waiting("stays")
    scheduler = scheduler_with(gone, stays)
    scheduler.withdraw(gone)
    assert len(scheduler) == 1
    assert names(scheduler.schedule(Budget(4), 0.0)) == ["stays"]


def test_only_a_sequence_that_waits_can_be_withdrawn():
    scheduler = scheduler_with(Waiting("a"))
    with pytest.raises(ValueError, match="not in deque"):
        scheduler.withdraw(Waiting("a"))
    with pytest.raises(KeyError):
        scheduler.withdraw(Waiting("b", lane="batch"))
    assert len(scheduler) == 1


def test_a_sequence_above_the_budget_runs_alone():
    scheduler = scheduler_with(Waiting("giant", size=100.0), Waiting("small", size=1.0))
    assert names(scheduler.schedule(Budget(4, size_max=10.0), 0.0)) == ["giant"]
    assert names(scheduler.schedule(Budget(4, size_max=10.0), 0.0)) == ["small"]


def test_tenants_share_by_cost_and_not_by_count():
    long = [Waiting(f"long{i}", tenant="long", cost=30.0) for i in range(20)]
    short = [Waiting(f"short{i}", tenant="short", cost=10.0) for i in range(60)]
    scheduler = scheduler_with(*long, *short)
    started = [next_name(scheduler) for _ in range(40)]
    assert sum(name.startswith("long") for name in started) == pytest.approx(10, abs=1)


def test_the_heavy_lane_goes_first_among_equals():
    policy = LanePolicy({"interactive": 4.0, "batch": 1.0}, ageing_per_s=0.0)
    batch = [Waiting(f"b{i}", lane="batch") for i in range(50)]
    interactive = [Waiting(f"i{i}") for i in range(50)]
    scheduler = scheduler_with(*batch, *interactive, policy=policy)
    started = [next_name(scheduler) for _ in range(50)]
    assert sum(name.startswith("i") for name in started) == pytest.approx(40, abs=1)


def test_a_tenant_with_many_sequences_does_not_hold_up_one_with_few():
    flood = [Waiting(f"f{i}", tenant="flood") for i in range(100)]
    scheduler = scheduler_with(*flood, Waiting("single", tenant="other"))
    assert "single" in [next_name(scheduler) for _ in range(2)]


def test_ageing_brings_a_light_lane_forward():
    policy = LanePolicy({"interactive": 1000.0, "batch": 1.0}, ageing_per_s=1.0)
    scheduler = scheduler_with(Waiting("old", lane="batch", cost=50.0), policy=policy)
    clock = ManualClock(0.0)
    scheduler.admit(Waiting("old-2", lane="batch", cost=50.0))
    assert next_name(scheduler, clock.monotonic_s()) == "old"
    for turn in range(200):  # batch is 50 in debt, which 50 seconds of waiting pay
        scheduler.admit(Waiting(f"i{turn}", arrived_s=clock.monotonic_s()))
        if next_name(scheduler, clock.monotonic_s()) == "old-2":
            break
        clock.advance(1.0)
    assert 49.0 <= clock.monotonic_s() <= 51.0


arrivals = st.lists(
    st.builds(
        dict,
        lane=st.sampled_from(LANES),
        tenant=st.sampled_from("xyz"),
        cost=st.integers(1, 20).map(float),
        size=st.integers(0, 20).map(float),
        gap_s=st.integers(0, 2).map(float),
        schedule_now=st.booleans(),
        withdraw=st.booleans(),
    ),
    max_size=25,
)


@settings(max_examples=40)
@given(arrivals, st.integers(1, 5), st.integers(1, 40))
def test_every_sequence_leaves_once_in_order_and_within_the_budget(trace, count_max, size_max):
    clock, scheduler = ManualClock(0.0), scheduler_with()
    budget = Budget(count_max, float(size_max))
    left: list[str] = []
    queues: dict[tuple[str, str], list[str]] = defaultdict(list)

    def run_once() -> None:
        group = scheduler.schedule(budget, clock.monotonic_s())
        assert len(group) <= count_max
        assert sum(each.size for each in group) <= size_max or len(group) == 1
        for each in group:
            assert queues[each.lane, each.tenant].pop(0) == each.name
        left.extend(names(group))

    for index, facts in enumerate(trace):
        new = Waiting(
            f"e{index}",
            facts["lane"],
            facts["tenant"],
            clock.monotonic_s(),
            facts["cost"],
            facts["size"],
        )
        scheduler.admit(new)
        queue = queues[new.lane, new.tenant]
        queue.append(new.name)
        if facts["withdraw"]:
            scheduler.withdraw(new)
            queue.remove(new.name)
            left.append(new.name)
        clock.advance(facts["gap_s"])
        if facts["schedule_now"]:
            run_once()
        assert len(scheduler) == sum(map(len, queues.values()))
    while len(scheduler):
        before = len(scheduler)
        run_once()
        assert len(scheduler) < before
    assert sorted(left) == sorted(f"e{i}" for i in range(len(trace)))


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.sampled_from(LANES), st.integers(1, 10)), min_size=1, max_size=4),
    st.sampled_from(LANES),
)
def test_no_sequence_starves_however_many_others_arrive(rivals, lane):
    """A sequence starts when the others have had their share.

    Every other lane gets, for its weight, at most what the sequence's lane owes and one turn more.
    """
    policy = LanePolicy(ageing_per_s=0.0)
    scheduler = scheduler_with(policy=policy)
    for name in LANES:  # every lane begins in debt by one turn
        scheduler.admit(Waiting(f"first-{name}", name, cost=10.0))
        scheduler.schedule(Budget(1), 0.0)
    scheduler.admit(Waiting("patient", lane, "patient"))
    given: dict[str, float] = defaultdict(float)
    older: list[Waiting] = []
    for turn in range(2000):
        new = [
            Waiting(f"{turn}-{index}", rival_lane, f"r{index}", cost=cost)
            for index, (rival_lane, cost) in enumerate(rivals)
        ]
        for each in new:
            scheduler.admit(each)
        (started,) = scheduler.schedule(Budget(1), 0.0)
        if started.name == "patient":
            break
        given[started.lane] += started.cost / policy.weight(started.lane)
        for each in older:
            if each is not started:
                scheduler.withdraw(each)
        older = [each for each in new if each is not started]
    else:
        pytest.fail("starved")
    debt = 10.0 / policy.weight(lane)
    slack = 10.0  # one more turn of a lane that stands level
    assert all(spent <= debt + slack for name, spent in given.items() if name != lane)
