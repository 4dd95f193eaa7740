import threading

import pytest
from arno.results.ports import Attempt, JobOrigin, JobState
from arno.worker.quarantine import Quarantine
from arno.worker.retrying import AbandonedError
from support.eventually import eventually


def _attempt(job_id: str, number: int) -> Attempt:
    return Attempt(JobOrigin(job_id, "default", 0, 0, 60), number, JobState.QUEUED, False)


def _begin_aside(quarantine: Quarantine, attempt: Attempt, begun: list[str]) -> threading.Thread:
    thread = threading.Thread(target=lambda: begun.append(quarantine.begin(lambda: attempt).job_id))
    thread.start()
    return thread


def test_first_attempts_begin_side_by_side() -> None:
    quarantine = Quarantine(attempts_max=3)
    for name in ("a", "b", "c"):
        assert quarantine.begin(lambda name=name: _attempt(name, 1)).job_id == name


def test_nothing_begins_while_a_last_attempt_is_in_hand() -> None:
    quarantine = Quarantine(attempts_max=3)
    last = quarantine.begin(lambda: _attempt("suspect", 3))
    begun: list[str] = []
    thread = _begin_aside(quarantine, _attempt("neighbour", 1), begun)
    quarantine.leave(_attempt("suspect", 2))
    thread.join(0.05)
    assert begun == []
    quarantine.leave(last)
    thread.join(5)
    assert begun == ["neighbour"]


def test_a_begin_that_fails_holds_nobody_up() -> None:
    quarantine = Quarantine(attempts_max=3)
    with pytest.raises(ZeroDivisionError):
        quarantine.begin(lambda: 1 // 0)  # type: ignore[arg-type,return-value]  # never returns
    assert quarantine.begin(lambda: _attempt("next", 1)).job_id == "next"


def test_leaving_process_frees_those_who_wait() -> None:
    quarantine = Quarantine(attempts_max=3)
    quarantine.begin(lambda: _attempt("suspect", 3))
    freed = threading.Event()

    def wait() -> None:
        try:
            quarantine.begin(lambda: _attempt("neighbour", 1))
        except AbandonedError:
            freed.set()

    thread = threading.Thread(target=wait)
    thread.start()
    quarantine.stop()
    eventually(freed.is_set)
    thread.join()


def test_only_one_attempt_allowed_means_no_isolation() -> None:
    quarantine = Quarantine(attempts_max=1)
    quarantine.begin(lambda: _attempt("a", 1))
    assert quarantine.begin(lambda: _attempt("b", 1)).job_id == "b"
