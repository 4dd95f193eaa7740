"""What a step does follows from its number."""

from __future__ import annotations

import pytest
from arno.training.trainer.process_group import ProcessGroup
from arno.training.trainer.schedule import CosineSchedule, SampleOrder, StepsSchedule
from hypothesis import given
from hypothesis import strategies as st


@given(count=st.integers(1, 50), seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 5))
def test_every_epoch_sees_each_sample_once(count, seed, epoch):
    order = SampleOrder(count, seed)
    seen = [order.at(epoch * count + place) for place in range(count)]
    assert sorted(seen) == list(range(count))


def test_epochs_and_seeds_have_other_orders():
    def epoch(seed: int, number: int) -> list[int]:
        return [SampleOrder(100, seed).at(number * 100 + place) for place in range(100)]

    assert epoch(1, 0) == epoch(1, 0)
    assert epoch(1, 0) != epoch(1, 1)
    assert epoch(1, 0) != epoch(2, 0)


def test_learning_rate_rises_then_falls_as_a_cosine():
    schedule = CosineSchedule(step_count=110, warm_up_steps=10, peak=1.0)
    rates = [schedule.learning_rate(step) for step in range(110)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[60] == pytest.approx(0.505)
    assert rates[109] == pytest.approx(0.01, abs=0.001)


def test_cosine_ends_where_it_is_told():
    schedule = CosineSchedule(step_count=1000, warm_up_steps=0, peak=1e-4, floor=1e-3)
    assert schedule.learning_rate(999) == pytest.approx(1e-7, rel=0.01)


def test_learning_rate_falls_to_a_tenth_after_67_and_89_percent():
    schedule = StepsSchedule(step_count=100, warm_up_steps=2, peak=1.0)
    rates = [schedule.learning_rate(step) for step in range(100)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert [rates[place] for place in (66, 67, 88, 89, 99)] == pytest.approx(
        [1, 0.1, 0.1, 0.01, 0.01]
    )


def test_checkpoints_older_than_the_floor_are_still_those_of_the_run():
    usual = CosineSchedule(step_count=10, warm_up_steps=1, peak=1.0)
    assert usual.identity == {"steps": 10, "warm_up_steps": 1, "learning_rate": 1.0}
    assert StepsSchedule(10, 1, 1.0).identity != usual.identity


@given(start=st.integers(0, 1000), total=st.integers(1, 64), size=st.integers(1, 9))
def test_shares_of_all_processes_make_a_step(start, total, size):
    positions = range(start, start + total)
    shares = [ProcessGroup(rank, rank, size).share(positions) for rank in range(size)]
    assert sorted(position for share in shares for position in share) == list(positions)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
