"""How long new jobs will wait, as far as anybody can know."""

from __future__ import annotations

import pytest
from arno.gateway.backlog import Backlog, Prediction
from arno.gateway.metrics import BacklogCollector
from arno.vocabulary import Lane
from hypothesis import given
from hypothesis import strategies as st
from support.clock import ManualClock
from support.eventually import eventually_async


def prediction(counts: dict[Lane, int], paces: list[float]) -> Prediction:
    found = Prediction(stale_after_s=5.0)
    for lane in Lane:
        found.lanes[lane].add(100.0)
    found.update(counts, paces, now_s=10.0)
    return found


def test_wait_is_the_work_ahead_over_the_pace_of_all_workers():
    found = prediction({Lane.INTERACTIVE: 6}, [10.0, 30.0])
    assert found.work_s(Lane.INTERACTIVE, 10.0) == pytest.approx(30.0)
    assert found.wait_s(Lane.INTERACTIVE, 10.0) == pytest.approx(15.0)


def test_flood_on_a_lower_lane_is_not_ahead_of_the_upper_ones():
    found = prediction({Lane.BATCH: 1000}, [10.0])
    assert found.wait_s(Lane.INTERACTIVE, 10.0) == 0.0
    assert found.wait_s(Lane.STREAM, 10.0) == 0.0
    assert found.wait_s(Lane.BATCH, 10.0) == pytest.approx(10_000.0)


def test_jobs_accepted_since_the_last_news_count_at_once():
    found = prediction({}, [10.0])
    found.lanes[Lane.STREAM].add(50.0)
    assert found.wait_s(Lane.STREAM, 10.0) == pytest.approx(5.0)
    found.update({Lane.STREAM: 0}, [10.0], now_s=11.0)
    assert found.wait_s(Lane.STREAM, 11.0) == 0.0


def test_tenant_waits_only_for_the_part_of_the_work_that_is_before_its_own():
    found = prediction({Lane.INTERACTIVE: 6, Lane.STREAM: 2}, [10.0])
    shares = {Lane.INTERACTIVE: 0.0, Lane.STREAM: 0.5}
    assert found.wait_s(Lane.STREAM, 10.0, shares.__getitem__) == pytest.approx(10.0)


@pytest.mark.parametrize("paces", [[], [0.0, 0.0]], ids=["no worker", "none was ever busy"])
def test_nothing_is_predicted_where_no_pace_is_known(paces: list[float]):
    assert prediction({Lane.BATCH: 9}, paces).wait_s(Lane.BATCH, 10.0) is None


def test_worker_that_was_never_busy_is_taken_to_be_like_the_others():
    found = prediction({Lane.BATCH: 6}, [10.0, 0.0])
    assert found.wait_s(Lane.BATCH, 10.0) == pytest.approx(30.0)


def test_nothing_is_predicted_from_old_news():
    found = prediction({Lane.BATCH: 9}, [10.0])
    assert found.wait_s(Lane.BATCH, 15.0) is not None
    assert found.wait_s(Lane.BATCH, 15.1) is None


def test_nothing_is_predicted_of_records_whose_cost_nobody_here_has_seen():
    found = Prediction(stale_after_s=5.0)
    found.update({Lane.BATCH: 1000}, [10.0], now_s=10.0)
    assert found.work_s(Lane.BATCH, 10.0) is None
    assert found.wait_s(Lane.INTERACTIVE, 10.0) == 0.0


async def test_no_number_is_shown_of_what_is_not_known():
    clock = ManualClock()
    faults: list[Exception] = [RuntimeError("a fault of the client")]

    async def unfinished() -> dict[str, int]:
        if faults:
            raise faults.pop()
        return {Lane.BATCH: 7}

    async def paces() -> list[float]:
        return []

    def shown() -> dict[str, float]:
        records = next(iter(BacklogCollector(backlog).collect()))
        return {sample.labels["lane"]: sample.value for sample in records.samples}

    async def known() -> bool:
        return bool(shown())

    backlog = Backlog(unfinished=unfinished, paces=paces, interval_s=0.001, clock=clock)
    assert not shown()
    await backlog.start()
    await eventually_async(known)
    await backlog.close()
    assert shown() == {"interactive": 0, "stream": 0, "batch": 7}
    clock.advance(1.0)
    assert not shown()


@given(st.lists(st.floats(1.0, 1e6), min_size=1, max_size=40))
def test_mean_cost_stays_within_what_was_accepted(costs: list[float]):
    work = Prediction(stale_after_s=5.0).lanes[Lane.BATCH]
    for cost in costs:
        work.add(cost)
    assert min(costs) * 0.999 <= (work.cost_mean or 0.0) <= max(costs) * 1.001
