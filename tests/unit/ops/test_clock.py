"""The wall clock that all processes share."""

from __future__ import annotations

from arno.ops.clock import StoreClock
from hypothesis import given
from hypothesis import strategies as st


class ManualStoreClock(StoreClock):
    """A store clock whose monotonic time is set by hand."""

    now_s = 100.0

    def monotonic_s(self) -> float:
        return self.now_s


def test_time_is_the_machines_until_the_store_was_read() -> None:
    assert abs(StoreClock().wall_ms() - StoreClock().wall_ms()) < 60_000
    assert StoreClock().wall_ms() > 1_600_000_000_000


@given(st.integers(0, 10**13), st.floats(0.0, 0.4), st.floats(0.0, 10_000.0))
def test_time_goes_on_from_the_reading_whatever_the_machines_wall_clock_does(
    store_ms: int, took_s: float, later_s: float
) -> None:
    clock = ManualStoreClock()
    asked_s = clock.now_s
    clock.now_s += took_s
    clock.follow(store_ms, asked_s=asked_s)
    clock.now_s += later_s
    # The reading belongs to a moment between question and answer.
    elapsed_ms = later_s * 1000
    assert -1 <= clock.wall_ms() - store_ms - elapsed_ms <= took_s * 1000 + 1


def test_reading_that_took_long_replaces_no_better_one() -> None:
    clock = ManualStoreClock()
    clock.follow(1000, asked_s=clock.now_s)
    clock.now_s += 5.0
    clock.follow(60_000, asked_s=clock.now_s - 5.0)
    assert clock.wall_ms() == 6000
