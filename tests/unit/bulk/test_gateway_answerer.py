import threading

import pytest
from arno.bulk import GatewayAnswerer, Item
from arno.bulk.gateway_answerer import GatewayOptions
from arno.client import JobState
from arno.errors import (
    ArnoError,
    EngineError,
    InvalidImageError,
    OverloadedError,
    UnauthenticatedError,
    UnavailableError,
)
from arno.vocabulary.results import Job
from arno.vocabulary.wire_results import rebuild_error
from support.bulk import items, seen


def ended(job_id, result=None, error=None):
    state = JobState.SUCCEEDED if error is None else JobState.FAILED
    return Job(job_id, state, None, None, None, result, error, 1, 0, None)


class FakeClient:
    """Ends every job at once, unless told to raise first."""

    def __init__(self, *raised, job=lambda: ended("j", seen())):
        self.raised = list(raised)
        self.job = job
        self.submitted = []
        self.deleted = []
        self.open = self.open_max = 0
        self._lock = threading.Lock()

    def submit(self, content, *tasks, lane, idempotency_key):
        with self._lock:
            self.submitted.append((content, tasks, lane, idempotency_key))
            self.open += 1
            self.open_max = max(self.open_max, self.open)
            if self.raised:
                self.open -= 1
                raise self.raised.pop(0)
        return self.job()

    def delete(self, job_id):
        with self._lock:
            self.deleted.append(job_id)
            self.open -= 1


def answerer(client, run_id="r", **options):
    return GatewayAnswerer(client, ["OD"], run_id=run_id, options=GatewayOptions(**options))


def test_items_become_jobs_of_the_batch_lane_that_are_deleted_once_kept():
    client = FakeClient()
    for answered in answerer(client).answer(items("a", "b")):
        assert answered.outcome["OD"].ok
        answered.release()
    assert [(tasks, lane) for _, tasks, lane, _ in client.submitted] == [(("OD",), "batch")] * 2
    assert client.deleted == ["j", "j"]


def test_no_more_jobs_are_open_than_may():
    client = FakeClient()
    for answered in answerer(client, in_flight_max=3).answer(items(*map(str, range(40)))):
        answered.release()
    assert len(client.submitted) == 40
    # A job whose answer is kept may still be on its way out.
    assert client.open_max <= 3 + 3


def test_same_item_of_the_same_data_set_is_the_same_job():
    def keys(content=b"image", key="a", run_id="r"):
        client = FakeClient()
        list(answerer(client, run_id).answer([Item(key, lambda: content)]))
        return client.submitted[0][3]

    assert keys() == keys()
    assert len({keys(), keys(b"other"), keys(key="b"), keys(run_id="s")}) == 4
    assert len(keys()) <= 128


def test_gateway_that_is_away_is_waited_for():
    client = FakeClient(*[UnavailableError("away", retry_delay_s=0.001)] * 3)
    (answered,) = answerer(client).answer(items("a"))
    assert answered.outcome["OD"].ok
    assert len({key for *_, key in client.submitted}) == 1
    assert len(client.submitted) == 4


def test_gateway_that_stays_away_ends_the_run():
    client = FakeClient(*[OverloadedError("full", retry_delay_s=0.001)] * 9)
    with pytest.raises(OverloadedError, match="full"):
        list(answerer(client, patience_s=0, in_flight_max=1).answer(items("a", "b")))


def test_refusal_of_every_call_ends_the_run():
    with pytest.raises(UnauthenticatedError):
        list(answerer(FakeClient(UnauthenticatedError("no key"))).answer(items("a")))


def test_fault_of_the_gateway_at_one_call_is_an_outcome_and_stops_no_other():
    client = FakeClient(rebuild_error("INTERNAL", "error_id 1f", code=13, metadata={}))
    one, other = answerer(client, in_flight_max=1).answer(items("a", "b"))
    assert isinstance(one.outcome, ArnoError)
    assert one.outcome.reason == "INTERNAL"
    assert other.outcome["OD"].ok


def test_gateway_that_fails_at_every_call_ends_the_run():
    faults = [rebuild_error("INTERNAL", "error_id 1f", code=13, metadata={}) for _ in range(9)]
    outcomes = answerer(FakeClient(*faults), in_flight_max=1, faults_max=3).answer(items(*"abcde"))
    assert [next(outcomes).item.key for _ in range(3)] == ["a", "b", "c"]
    with pytest.raises(ArnoError, match="1f"):
        next(outcomes)


def test_refused_image_is_an_outcome_of_its_own():
    client = FakeClient(InvalidImageError(field="image", problem="broken"))
    one, other = answerer(client, in_flight_max=1).answer(items("a", "b"))
    assert isinstance(one.outcome, InvalidImageError)
    assert other.outcome["OD"].ok


def test_image_that_cannot_be_opened_is_not_sent():
    def absent():
        raise InvalidImageError(field="image", problem="absent")

    client = FakeClient()
    (answered,) = answerer(client).answer([Item("a", absent)])
    assert isinstance(answered.outcome, InvalidImageError)
    assert client.submitted == []


@pytest.mark.parametrize(("failed_times", "ok"), [(1, True), (2, False)])
def test_job_that_the_engine_failed_at_is_submitted_once_more(failed_times, ok):
    jobs = [ended("j", error=EngineError("broke"))] * failed_times + [ended("j", seen())]
    client = FakeClient(job=lambda: jobs.pop(0))
    (answered,) = answerer(client).answer(items("a"))
    assert isinstance(answered.outcome, EngineError) != ok
    assert len(client.submitted) == 2


def test_failed_job_with_some_answers_is_a_result():
    late = ended("j", seen(), error=EngineError("broke"))
    jobs = [late, late]
    (answered,) = answerer(FakeClient(job=lambda: jobs.pop(0))).answer(items("a"))
    assert answered.outcome["OD"].ok


def test_closing_the_iterator_takes_no_further_items():
    taken = []

    def endless():
        for number in range(10**9):
            taken.append(number)
            yield items(str(number))[0]

    answered = answerer(FakeClient(), in_flight_max=2).answer(endless())
    next(answered)
    answered.close()
    assert len(taken) <= 2
