"""When a waiter has to look at its job, and when it may wait to be told."""

from __future__ import annotations

from arno.results.redis.waiting_room import EXPECTED_COUNT_MAX, WaitingRoom, Wanted


def must_look(room: WaitingRoom, job_id: str, wanted: Wanted = Wanted.END) -> bool:
    with room.seat(job_id, wanted, 0.0) as waiter:
        return waiter.hint.is_set()


def test_waiter_of_a_job_that_nobody_expected_looks_first():
    assert must_look(WaitingRoom(), "job")


def test_waiter_of_an_expected_job_waits_to_be_told():
    room = WaitingRoom()
    room.expect("job")
    assert not must_look(room, "job")


def test_end_that_came_before_its_waiter_is_not_missed():
    room = WaitingRoom()
    room.expect("job")
    room.wake("job", "DECODING")
    room.wake("job", "SUCCEEDED")
    assert must_look(room, "job")


def test_second_waiter_of_an_expected_job_looks_first():
    room = WaitingRoom()
    room.expect("job")
    assert not must_look(room, "job")
    assert must_look(room, "job")


def test_waiter_for_every_change_looks_first_even_where_the_job_was_expected():
    room = WaitingRoom()
    room.expect("job")
    assert must_look(room, "job", Wanted.CHANGE)


def test_expectations_that_nobody_came_for_are_bounded_and_the_oldest_goes():
    room = WaitingRoom()
    for number in range(EXPECTED_COUNT_MAX + 1):
        room.expect(str(number))
    assert must_look(room, "0")
    assert not must_look(room, "1")
