"""A limit that proves too high, and recovers."""

from __future__ import annotations

from arno.batching import AdaptiveLimit
from hypothesis import given
from hypothesis import strategies as st


def test_too_high_halves_what_ran():
    limit = AdaptiveLimit(16)
    limit.too_high(10)
    assert limit.value == 5


def test_calm_raises_it_step_by_step_up_to_the_most():
    limit = AdaptiveLimit(4, calm=2)
    limit.too_high(4)
    values = []
    for _ in range(8):
        limit.went_well()
        values.append(limit.value)
    assert values == [2, 2, 2, 3, 3, 3, 3, 4]


def test_a_shortage_that_lasts_is_tried_ever_more_rarely():
    """Work of 300 steps comes to an end although no more than one has room, ever."""
    limit, longest, run, failures = AdaptiveLimit(8), 0, 0, 0
    limit.too_high(8)
    for _ in range(20_000):
        if limit.value > 1:
            failures += 1
            limit.too_high(limit.value)
            run = 0
        limit.went_well()
        run += 1
        longest = max(longest, run)
    assert longest > 300
    assert failures < 20


def test_back_at_the_most_it_is_as_bold_as_at_first():
    limit = AdaptiveLimit(2, calm=1)
    for _ in range(5):
        limit.too_high(2)
    for _ in range(100):
        limit.went_well()
    assert limit.value == 2
    limit.too_high(2)
    limit.went_well()
    limit.went_well()
    assert limit.value == 2


def test_trouble_ends_the_calm():
    limit = AdaptiveLimit(8, calm=2)
    limit.too_high(8)
    limit.went_well()
    limit.too_high(4)
    limit.went_well()
    assert limit.value == 2


@given(
    most=st.integers(1, 64), events=st.lists(st.one_of(st.none(), st.integers(1, 64)), max_size=60)
)
def test_it_stays_between_one_and_the_most(most, events):
    limit = AdaptiveLimit(most, calm=1)
    for running in events:
        before = limit.value
        if running is None:
            limit.went_well()
            assert limit.value >= before
        else:
            limit.too_high(running)
            assert limit.value <= max(1, before // 2)
        assert 1 <= limit.value <= most
