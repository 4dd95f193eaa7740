"""Which attempts at a job count against it: those whose worker fell silent with the job in hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis
from arno.bus.v1.records_pb2 import JobRecord
from arno.results.worker_store import WorkerStore
from arno.vocabulary import JobState
from support.builders import new_job, result_store
from support.redis_server import RedisServer
from support.stored_jobs import outcome

pytestmark = pytest.mark.redis

NewWorker = Callable[[], WorkerStore]


@pytest.fixture
def new_worker(redis_server: RedisServer, unique_prefix: str) -> Iterator[NewWorker]:
    """Make one more worker, whose silence lasts as long as the test wants."""
    settings = result_store(redis_server, unique_prefix)
    workers: list[WorkerStore] = []

    def make() -> WorkerStore:
        workers.append(WorkerStore(settings, silence_s=600))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()


@pytest.fixture
def fall_silent(raw: redis.Redis, unique_prefix: str) -> Callable[[], None]:
    """Let the time pass in which every worker would have had to give a sign of life."""

    def wait() -> None:
        for key in raw.scan_iter(f"{unique_prefix}:worker:*"):
            if raw.get(key) == b"alive":
                raw.delete(key)

    return wait


@pytest.fixture
def record() -> JobRecord:
    return new_job()


def _deaths(worker: WorkerStore, record: JobRecord) -> int:
    return worker.begin(record, deaths_max=0).death_count


def test_workers_that_fell_silent_with_a_job_in_hand_have_died_at_it(
    new_worker: NewWorker, fall_silent: Callable[[], None], record: JobRecord
) -> None:
    for died in range(3):
        attempt = new_worker().begin(record, deaths_max=3)
        assert (attempt.number, attempt.death_count, attempt.begun) == (died + 1, died, True)
        fall_silent()
    last = new_worker().begin(record, deaths_max=3)
    assert (last.number, last.death_count, last.begun) == (3, 3, False)
    assert last.state is JobState.QUEUED


def test_workers_that_give_signs_of_life_have_not_died(
    new_worker: NewWorker, fall_silent: Callable[[], None], record: JobRecord
) -> None:
    workers = [new_worker() for _ in range(5)]
    for worker in workers:
        assert worker.begin(record, deaths_max=1).begun
    fall_silent()
    assert _deaths(new_worker(), record) == 5
    # As after an outage of the store: the silence was not theirs.
    for worker in workers:
        worker.report_alive()
    assert _deaths(new_worker(), record) == 0


def test_workers_that_left_in_order_have_not_died(
    new_worker: NewWorker, fall_silent: Callable[[], None], record: JobRecord, raw: redis.Redis
) -> None:
    for number in range(1, 6):
        worker = new_worker()
        attempt = worker.begin(record, deaths_max=1)
        assert (attempt.number, attempt.begun) == (number, True)
        worker.report_gone(in_order=True)
        fall_silent()
    assert _deaths(new_worker(), record) == 0
    (job,) = raw.scan_iter(f"*:job:{record.id}")
    assert not [name for name in raw.hkeys(job) if name.startswith(b"holder:")]


def test_worker_that_fails_has_died_before_its_silence_is_over(
    new_worker: NewWorker, record: JobRecord
) -> None:
    failing = new_worker()
    failing.begin(record)
    failing.report_gone(in_order=False)
    assert _deaths(new_worker(), record) == 1
    # Its last breath, and threads that still run, change nothing.
    failing.report_gone(in_order=True)
    failing.report_alive()
    assert _deaths(new_worker(), record) == 1


def test_one_worker_dies_once_however_often_it_has_the_job(
    new_worker: NewWorker, fall_silent: Callable[[], None], record: JobRecord
) -> None:
    worker = new_worker()
    for _ in range(4):
        assert worker.begin(record, deaths_max=1).begun
        # Nor has it died in its own eyes, when its signs were late.
        fall_silent()
    assert _deaths(new_worker(), record) == 1


def test_begin_of_a_worker_that_has_left_leaves_nothing_to_die_at(
    new_worker: NewWorker, fall_silent: Callable[[], None], record: JobRecord
) -> None:
    worker = new_worker()
    worker.report_gone(in_order=False)
    worker.begin(record)
    fall_silent()
    assert _deaths(new_worker(), record) == 0


def test_job_that_has_ended_remembers_no_holders(
    new_worker: NewWorker, record: JobRecord, raw: redis.Redis
) -> None:
    worker = new_worker()
    worker.finish(worker.begin(record), outcome())
    again = new_worker().begin(record, deaths_max=1)
    assert (again.state, again.begun, again.death_count) == (JobState.SUCCEEDED, False, 0)
    (job,) = raw.scan_iter(f"*:job:{record.id}")
    assert not [name for name in raw.hkeys(job) if name.startswith(b"holder:")]


def test_foreign_things_in_place_of_a_workers_sign_are_no_sign(
    new_worker: NewWorker, record: JobRecord, raw: redis.Redis, unique_prefix: str
) -> None:
    worker = new_worker()
    worker.begin(record)
    (key,) = raw.scan_iter(f"{unique_prefix}:worker:*")
    raw.delete(key)
    raw.hset(key, "foreign", "field")
    assert _deaths(new_worker(), record) == 1
    worker.report_alive()
    assert _deaths(new_worker(), record) == 0
