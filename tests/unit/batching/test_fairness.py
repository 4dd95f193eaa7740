"""What the scheduler's rules come to over a while: floods move their neighbours by a little."""

from __future__ import annotations

import heapq
import random
from collections import defaultdict
from dataclasses import dataclass

import pytest
from arno.batching import Budget, LanePolicy, Scheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from support.waiting import Waiting

SLOTS = 16
COST_PER_S = 100.0
"""Of one slot: a job of cost 30 takes 0.3 s, wherever it runs."""


@dataclass(frozen=True, slots=True)
class Arrival:
    at_s: float
    lane: str
    tenant: str
    cost: float


def waiting(number: int, arrival: Arrival) -> Waiting:
    return Waiting(str(number), arrival.lane, arrival.tenant, arrival.at_s, arrival.cost)


def latencies_s(arrivals: list[Arrival]) -> list[float]:
    """Run a continuous batch: whenever a slot is free, the scheduler chooses the next."""
    scheduler, running, latencies = Scheduler(LanePolicy()), [], {}
    coming = sorted(enumerate(arrivals), key=lambda each: each[1].at_s)
    at_s, place = 0.0, 0
    while place < len(coming) or running or len(scheduler):
        while place < len(coming) and coming[place][1].at_s <= at_s:
            scheduler.admit(waiting(*coming[place]))
            place += 1
        while len(running) < SLOTS:
            group = scheduler.schedule(Budget(1), at_s)
            if not group:
                break
            number = int(group[0].name)
            heapq.heappush(running, (at_s + arrivals[number].cost / COST_PER_S, number))
        following = [coming[place][1].at_s] if place < len(coming) else []
        following += [running[0][0]] if running else []
        at_s = min(following, default=at_s)
        while running and running[0][0] <= at_s:
            ended_s, number = heapq.heappop(running)
            latencies[number] = ended_s - arrivals[number].at_s
    return [latencies[number] for number in range(len(arrivals))]


def asked(seed: int, lane: str, rate: float, seconds: float) -> list[Arrival]:
    chance, at_s, arrivals = random.Random(seed), 0.0, []
    while (at_s := at_s + chance.expovariate(rate)) < seconds:
        arrivals.append(Arrival(at_s, lane, "people", chance.uniform(20, 40)))
    return arrivals


def p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * len(values))]


@pytest.mark.parametrize("seed", range(2))
def test_flood_on_batch_moves_the_interactive_p95_by_less_than_half(seed: int):
    people = asked(seed, "interactive", rate=10.0, seconds=20.0)
    flood = [Arrival(0.0, "batch", "night", 30.0) for _ in range(800)]
    alone = latencies_s(people)
    crowded = latencies_s([*people, *flood])[: len(people)]
    assert p95(crowded) < 1.5 * p95(alone)


def test_flood_is_served_all_the_same():
    people = asked(1, "interactive", rate=10.0, seconds=20.0)
    flood = [Arrival(0.0, "batch", "night", 30.0) for _ in range(800)]
    ends = latencies_s([*people, *flood])[len(people) :]
    assert sum(end_s < 20.0 for end_s in ends) > 400


@settings(max_examples=15, deadline=None)
@given(
    costs=st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=5), min_size=2, max_size=4),
    depths=st.lists(st.integers(1, 25), min_size=4, max_size=4),
)
def test_tenants_that_always_wait_get_equal_shares_of_cost(costs, depths):
    """However many sequences each keeps waiting, and whatever they cost."""
    scheduler, given_cost, number = Scheduler(LanePolicy()), defaultdict(float), 0
    total = 60.0 * max(max(each) for each in costs) * len(costs)

    def ask(tenant: int) -> None:
        nonlocal number
        cost = float(costs[tenant][number % len(costs[tenant])])
        arrival = Arrival(0.0, "batch", str(tenant), cost)
        scheduler.admit(waiting(number, arrival))
        number += 1

    for tenant in range(len(costs)):
        for _ in range(depths[tenant]):
            ask(tenant)
    while sum(given_cost.values()) < total:
        (started,) = scheduler.schedule(Budget(1), 0.0)
        given_cost[started.tenant] += started.cost
        ask(int(started.tenant))
    fair = sum(given_cost.values()) / len(costs)
    for tenant in range(len(costs)):
        assert given_cost[str(tenant)] == pytest.approx(fair, rel=0.2)
