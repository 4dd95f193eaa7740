"""The rules of the queue, on a clock that the test turns."""

from __future__ import annotations

from collections import defaultdict

import pytest
from arno.batching import Budget, Entry, LanePolicy, Scheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import ManualClock

LANES = ("interactive", "stream", "batch")


def entry(name: str, **changes: object) -> Entry:
    facts: dict[str, object] = {
        "lane": "interactive",
        "tenant": "t",
        "arrived_s": 0.0,
        "deadline_s": None,
        "group_key": "k",
        "cost": 1.0,
        "size": 0.0,
    }
    return Entry(name, **(facts | changes))  # type: ignore[arg-type]  # the keys are its fields


def scheduler_with(*entries: Entry, policy: LanePolicy | None = None) -> Scheduler:
    scheduler = Scheduler(policy or LanePolicy())
    for each in entries:
        scheduler.admit(each)
    return scheduler


def ids(entries: tuple[Entry, ...]) -> list[str]:
    return [each.entry_id for each in entries]


def test_nothing_waits_and_nothing_starts():
    decision = Scheduler(LanePolicy()).schedule(Budget(4), 0.0)
    assert (decision.expired, decision.group) == ((), ())


def test_only_equal_keys_share_a_group():
    scheduler = scheduler_with(entry("a"), entry("b", group_key="other"), entry("c"))
    assert ids(scheduler.schedule(Budget(4), 0.0).group) == ["a", "c"]
    assert ids(scheduler.schedule(Budget(4), 0.0).group) == ["b"]


def test_expired_entries_leave_before_they_start():
    scheduler = scheduler_with(entry("late", deadline_s=5.0), entry("ok", deadline_s=5.1))
    decision = scheduler.schedule(Budget(4), 5.0)
    assert (ids(decision.expired), ids(decision.group)) == (["late"], ["ok"])


def test_withdrawn_entries_never_start():
    scheduler = scheduler_with(entry("a"), entry("b"))
    assert scheduler.withdraw("a")
    assert not scheduler.withdraw("a")
    assert ids(scheduler.schedule(Budget(4), 0.0).group) == ["b"]


def test_the_same_id_cannot_wait_twice():
    scheduler = scheduler_with(entry("a"))
    with pytest.raises(ValueError, match="'a' waits already"):
        scheduler.admit(entry("a"))


def test_an_entry_above_the_budget_runs_alone():
    scheduler = scheduler_with(entry("giant", size=100.0), entry("small", size=1.0))
    assert ids(scheduler.schedule(Budget(4, size_max=10.0), 0.0).group) == ["giant"]
    assert ids(scheduler.schedule(Budget(4, size_max=10.0), 0.0).group) == ["small"]


def test_tenants_share_by_cost_and_not_by_count():
    long = [entry(f"long{i}", tenant="long", cost=30.0) for i in range(20)]
    short = [entry(f"short{i}", tenant="short", cost=10.0) for i in range(60)]
    scheduler = scheduler_with(*long, *short)
    started = [ids(scheduler.schedule(Budget(1), 0.0).group)[0] for _ in range(40)]
    assert sum(name.startswith("long") for name in started) == pytest.approx(10, abs=1)


def test_the_heavy_lane_goes_first_among_equals():
    policy = LanePolicy({"interactive": 4.0, "batch": 1.0}, ageing_per_s=0.0)
    batch = [entry(f"b{i}", lane="batch") for i in range(50)]
    interactive = [entry(f"i{i}") for i in range(50)]
    scheduler = scheduler_with(*batch, *interactive, policy=policy)
    started = [ids(scheduler.schedule(Budget(1), 0.0).group)[0] for _ in range(50)]
    assert sum(name.startswith("i") for name in started) == pytest.approx(40, abs=1)


def test_a_tenant_with_many_entries_does_not_hold_up_one_with_few():
    flood = [entry(f"f{i}", tenant="flood") for i in range(100)]
    scheduler = scheduler_with(*flood, entry("single", tenant="other"))
    started = [ids(scheduler.schedule(Budget(1), 0.0).group)[0] for _ in range(2)]
    assert "single" in started


def test_ageing_brings_a_light_lane_forward():
    policy = LanePolicy({"interactive": 1000.0, "batch": 1.0}, ageing_per_s=1.0)
    scheduler = scheduler_with(entry("old", lane="batch", cost=50.0), policy=policy)
    clock = ManualClock(0.0)
    scheduler.admit(entry("old-2", lane="batch", cost=50.0))
    assert ids(scheduler.schedule(Budget(1), clock.now_s()).group) == ["old"]
    for turn in range(200):  # batch is 50 in debt, which 50 seconds of waiting pay
        scheduler.admit(entry(f"i{turn}", arrived_s=clock.now_s()))
        if ids(scheduler.schedule(Budget(1), clock.now_s()).group) == ["old-2"]:
            break
        clock.advance(1.0)
    assert 49.0 <= clock.now_s() <= 51.0


arrivals = st.lists(
    st.builds(
        dict,
        lane=st.sampled_from(LANES),
        tenant=st.sampled_from("xy"),
        group_key=st.sampled_from("kl"),
        cost=st.integers(1, 20).map(float),
        size=st.integers(0, 20).map(float),
        patience_s=st.one_of(st.none(), st.integers(0, 5).map(float)),
        gap_s=st.integers(0, 2).map(float),
        schedule_now=st.booleans(),
        withdraw=st.booleans(),
    ),
    max_size=25,
)


@settings(max_examples=40)
@given(arrivals, st.integers(1, 5), st.integers(1, 40))
def test_every_entry_leaves_once_in_order_and_within_the_budget(trace, entries_max, size_max):
    clock, scheduler = ManualClock(0.0), Scheduler(LanePolicy())
    budget = Budget(entries_max, float(size_max))
    left: list[str] = []
    queues: dict[tuple[str, str, str], list[str]] = defaultdict(list)

    def run_once() -> None:
        decision = scheduler.schedule(budget, clock.now_s())
        group = decision.group
        assert len(group) <= entries_max
        assert sum(e.size for e in group) <= size_max or len(group) == 1
        assert len({e.group_key for e in group}) <= 1
        assert all(e.deadline_s is not None for e in decision.expired)
        assert all(e.deadline_s is None or e.deadline_s > clock.now_s() for e in group)
        for e in decision.expired:
            queues[e.lane, e.tenant, e.group_key].remove(e.entry_id)
        for e in group:
            assert queues[e.lane, e.tenant, e.group_key].pop(0) == e.entry_id
        left.extend(ids(decision.expired + group))

    for index, facts in enumerate(trace):
        now_s = clock.now_s()
        patience_s = facts["patience_s"]
        new = entry(
            f"e{index}",
            lane=facts["lane"],
            tenant=facts["tenant"],
            group_key=facts["group_key"],
            cost=facts["cost"],
            size=facts["size"],
            arrived_s=now_s,
            deadline_s=None if patience_s is None else now_s + patience_s,
        )
        scheduler.admit(new)
        queue = queues[new.lane, new.tenant, new.group_key]
        queue.append(new.entry_id)
        if facts["withdraw"]:
            assert scheduler.withdraw(new.entry_id)
            queue.remove(new.entry_id)
            left.append(new.entry_id)
        clock.advance(facts["gap_s"])
        if facts["schedule_now"]:
            run_once()
    while len(scheduler):
        before = len(scheduler)
        run_once()
        assert len(scheduler) < before
    assert sorted(left) == sorted(f"e{i}" for i in range(len(trace)))


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.sampled_from(LANES), st.sampled_from("kl"), st.integers(1, 10)),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(LANES),
)
def test_nobody_starves_however_much_else_arrives(rivals, lane):
    """One who waits starts when the others have had their share; its key plays no part.

    Every other lane gets, for its weight, at most what the entry's lane owes and one entry more.
    """
    policy = LanePolicy(ageing_per_s=0.0)
    scheduler = scheduler_with(policy=policy)
    for warm_up in range(
        3
    ):  # its lane begins in debt by one entry, like one that has just had a turn
        scheduler.admit(entry(f"w{warm_up}", lane=LANES[warm_up], cost=10.0))
        scheduler.schedule(Budget(1), 0.0)
    scheduler.admit(entry("patient", lane=lane, tenant="patient", group_key="rare"))
    given: dict[str, float] = defaultdict(float)
    for turn in range(2000):
        for index, (rival_lane, key, cost) in enumerate(rivals):
            tenant, name = f"r{index}", f"{turn}-{index}"
            scheduler.admit(entry(name, lane=rival_lane, tenant=tenant, group_key=key, cost=cost))
            scheduler.withdraw(f"{turn - 2}-{index}")
        (started,) = scheduler.schedule(Budget(1), 0.0).group
        if started.entry_id == "patient":
            break
        given[started.lane] += started.cost / policy.weight(started.lane)
    else:
        pytest.fail("starved")
    debt = 10.0 / policy.weight(lane)
    slack = 10.0  # one more entry of a lane that stands level
    assert all(spent <= debt + slack for name, spent in given.items() if name != lane)
