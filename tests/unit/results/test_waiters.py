"""When a waiter has to read its job first, and when it may wait for a wake-up."""

from __future__ import annotations

from arno.results.waiting import PREREGISTERED_COUNT_MAX, Waiters, WakeOn


def must_read(waiters: Waiters, job_id: str, wake_on: WakeOn = WakeOn.END) -> bool:
    with waiters.register(job_id, wake_on, 0.0) as waiter:
        return waiter.hint.is_set()


def test_waiter_of_a_job_that_was_not_preregistered_reads_first():
    assert must_read(Waiters(), "job")


def test_waiter_of_a_preregistered_job_waits_for_its_wake_up():
    waiters = Waiters()
    waiters.preregister("job")
    assert not must_read(waiters, "job")


def test_end_that_came_before_its_waiter_is_not_missed():
    waiters = Waiters()
    waiters.preregister("job")
    waiters.wake("job", "DECODING")
    waiters.wake("job", "SUCCEEDED")
    assert must_read(waiters, "job")


def test_second_waiter_of_a_preregistered_job_reads_first():
    waiters = Waiters()
    waiters.preregister("job")
    assert not must_read(waiters, "job")
    assert must_read(waiters, "job")


def test_waiter_for_every_change_reads_first_even_where_the_job_was_preregistered():
    waiters = Waiters()
    waiters.preregister("job")
    assert must_read(waiters, "job", WakeOn.CHANGE)


def test_preregistered_jobs_without_a_waiter_are_bounded_and_the_oldest_goes():
    waiters = Waiters()
    for number in range(PREREGISTERED_COUNT_MAX + 1):
        waiters.preregister(str(number))
    assert must_read(waiters, "0")
    assert not must_read(waiters, "1")
