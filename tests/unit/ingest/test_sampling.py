from fractions import Fraction

import pytest
from arno.errors import InvalidFieldError
from arno.ingest.videos.frames import Sampler
from hypothesis import given
from hypothesis import strategies as st


def taken(fps, times):
    sampler = Sampler(fps)
    return [time for time in times if sampler.take(time)]


def test_first_frame_is_taken_at_zero():
    assert Sampler(0.001).take(Fraction(0))


def test_two_a_second_of_thirty_takes_every_fifteenth():
    times = [Fraction(index, 30) for index in range(91)]
    assert taken(2, times) == [Fraction(index, 2) for index in range(7)]


def test_first_frame_of_each_slot_is_taken_where_none_is_exactly_on_it():
    times = [Fraction(ms, 1000) for ms in (0, 400, 800, 1200, 1600, 2000, 2400)]
    assert taken(1, times) == [0, Fraction(1200, 1000), 2]


def test_source_slower_than_the_rate_is_sent_whole():
    times = [Fraction(index) for index in range(10)]
    assert taken(5, times) == times


def test_gap_is_not_filled_up_afterwards():
    times = [Fraction(0), Fraction(10), Fraction(101, 10), Fraction(102, 10), Fraction(11)]
    assert taken(1, times) == [0, 10, 11]


def test_without_a_rate_every_frame_is_taken():
    times = [Fraction(index, 60) for index in range(10)]
    assert taken(None, times) == times


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_rate_that_is_not_above_zero_is_refused(fps):
    with pytest.raises(InvalidFieldError, match="fps: the rate must be a number above 0"):
        Sampler(fps)


@given(
    st.lists(st.integers(0, 100_000), min_size=1, max_size=60).map(sorted),
    st.sampled_from([0.5, 1, 2, 3.3, 29.97]),
)
def test_each_slot_with_a_frame_is_sent_once(times_ms, fps):
    times = [Fraction(ms, 1000) for ms in times_ms]
    slots = {int(time * Fraction(str(fps))) for time in times}
    assert len(taken(fps, times)) == len(slots)
