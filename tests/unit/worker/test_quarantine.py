import threading
from collections.abc import Callable

import pytest
from arno.bus.v1.records_pb2 import JobRecord
from arno.results.jobs import Attempt
from arno.vocabulary import JobState
from arno.worker.quarantine import Begin, Quarantine
from arno.worker.retrying import AbandonedError
from support.eventually import eventually


def _begins(job_id: str, *, deaths: int, calls: list[int] | None = None) -> Begin:
    """Begin as the store does it, for a job at which so many workers have died."""

    def begin(deaths_max: int) -> Attempt:
        if calls is not None:
            calls.append(deaths_max)
        begun = deaths < deaths_max
        return Attempt(
            JobRecord(id=job_id), 1, JobState.QUEUED, False, death_count=deaths, begun=begun
        )

    return begin


class _Aside:
    """A begin on a thread of its own, which may have to wait."""

    def __init__(self, begin: Callable[[], Attempt]) -> None:
        self._begin = begin
        self.attempt: Attempt | None = None
        self.abandoned = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def waits(self) -> bool:
        self._thread.join(0.05)
        return self._thread.is_alive()

    def ended(self) -> Attempt | None:
        self._thread.join(5)
        assert not self._thread.is_alive()
        return self.attempt

    def _run(self) -> None:
        try:
            self.attempt = self._begin()
        except AbandonedError:
            self.abandoned = True


@pytest.mark.parametrize("deaths", [0, 1])
def test_jobs_with_chances_left_begin_side_by_side(deaths: int) -> None:
    quarantine = Quarantine(deaths_max=3)
    for name in ("a", "b", "c"):
        attempt = quarantine.begin(_begins(name, deaths=deaths))
        assert (attempt.job_id, attempt.begun) == (name, True)


def test_job_begins_while_the_store_has_not_answered_another() -> None:
    quarantine = Quarantine(deaths_max=3)
    answered = threading.Event()

    def slow(deaths_max: int) -> Attempt:
        assert answered.wait(5)
        return _begins("slow", deaths=0)(deaths_max)

    waiting = _Aside(lambda: quarantine.begin(slow))
    assert waiting.waits()
    assert quarantine.begin(_begins("quick", deaths=0)).begun
    # A last chance waits for both, also for the one that is only beginning.
    suspect = _Aside(lambda: quarantine.begin(_begins("suspect", deaths=2)))
    assert suspect.waits()
    late = _Aside(lambda: quarantine.begin(_begins("late", deaths=0)))
    assert late.waits()
    answered.set()
    slow_attempt = waiting.ended()
    assert slow_attempt is not None
    quarantine.stop()
    eventually(lambda: suspect.abandoned and late.abandoned)


def test_last_chance_waits_for_all_that_is_in_hand_and_has_begun_nothing_meanwhile() -> None:
    quarantine = Quarantine(deaths_max=3)
    neighbours = [quarantine.begin(_begins(name, deaths=0)) for name in ("a", "b")]
    calls: list[int] = []
    suspect = _Aside(lambda: quarantine.begin(_begins("suspect", deaths=2, calls=calls)))
    quarantine.leave(neighbours[0])
    assert suspect.waits()
    # Asked only whether it is one: the death of a neighbour would not count against it.
    assert calls == [2]
    quarantine.leave(neighbours[1])
    attempt = suspect.ended()
    assert attempt is not None
    assert attempt.begun
    assert calls == [2, 3]


def test_nothing_begins_while_a_last_chance_waits_or_is_in_hand() -> None:
    quarantine = Quarantine(deaths_max=3)
    neighbour = quarantine.begin(_begins("neighbour", deaths=0))
    suspect = _Aside(lambda: quarantine.begin(_begins("suspect", deaths=2)))
    assert suspect.waits()
    late = _Aside(lambda: quarantine.begin(_begins("late", deaths=0)))
    assert late.waits()
    quarantine.leave(neighbour)
    attempt = suspect.ended()
    assert attempt is not None
    assert late.waits()
    # Of one that was never begun.
    quarantine.leave(_begins("stranger", deaths=3)(3))
    assert late.waits()
    quarantine.leave(attempt)
    assert late.ended() is not None


def test_equal_attempts_of_a_store_that_lost_its_memory_are_in_hand_twice() -> None:
    quarantine = Quarantine(deaths_max=3)
    twice = [quarantine.begin(_begins("same", deaths=0)) for _ in range(2)]
    suspect = _Aside(lambda: quarantine.begin(_begins("suspect", deaths=2)))
    quarantine.leave(twice[0])
    assert suspect.waits()
    quarantine.leave(twice[1])
    assert suspect.ended() is not None


def test_job_without_a_chance_left_waits_for_nobody_and_holds_nobody_up() -> None:
    quarantine = Quarantine(deaths_max=3)
    quarantine.begin(_begins("neighbour", deaths=0))
    assert not quarantine.begin(_begins("poison", deaths=3)).begun
    assert quarantine.begin(_begins("next", deaths=0)).begun


def test_a_begin_that_fails_holds_nobody_up() -> None:
    quarantine = Quarantine(deaths_max=3)

    def fail_when_alone(deaths_max: int) -> Attempt:
        return _begins("suspect", deaths=2 // (3 - deaths_max))(deaths_max)

    with pytest.raises(ZeroDivisionError):
        quarantine.begin(fail_when_alone)
    assert quarantine.begin(_begins("next", deaths=0)).begun


def test_leaving_process_frees_those_who_wait() -> None:
    quarantine = Quarantine(deaths_max=3)
    quarantine.begin(_begins("neighbour", deaths=0))
    suspect = _Aside(lambda: quarantine.begin(_begins("suspect", deaths=2)))
    assert suspect.waits()
    late = _Aside(lambda: quarantine.begin(_begins("late", deaths=0)))
    quarantine.stop()
    eventually(lambda: suspect.abandoned and late.abandoned)


def test_only_one_death_allowed_means_no_isolation() -> None:
    quarantine = Quarantine(deaths_max=1)
    assert quarantine.begin(_begins("a", deaths=0)).begun
    assert quarantine.begin(_begins("b", deaths=0)).begun
    assert not quarantine.begin(_begins("c", deaths=1)).begun
