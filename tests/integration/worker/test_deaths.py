"""The deaths that count against the jobs in flight of a worker that ends."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from arno.api.v1 import job_pb2
from arno.bus.v1.records_pb2 import JobRecord
from arno.engine import PreparedImage
from arno.results.worker_store import WorkerStore
from arno.vocabulary import JobState
from arno.worker.settings import WorkerSettings
from support.eventually import eventually
from support.job_client import JobClient, job_record
from support.workers import RunningWorker


@pytest.fixture
def deaths(worker_settings: WorkerSettings) -> Iterator[Callable[[JobRecord], int]]:
    """Ask, as the next worker would, how many workers have died while they held a job."""
    writer = WorkerStore(worker_settings)

    def ask(record: JobRecord) -> int:
        return writer.begin(record, deaths_max=0).death_count

    yield ask
    writer.close()


def _taken(client: JobClient) -> JobRecord:
    record = job_record()
    client.submit(record)
    eventually(lambda: client.look(record.id).state is JobState.ENCODING)
    return record


def test_worker_that_hands_a_job_back_has_not_died_at_it(
    worker_settings: WorkerSettings,
    client: JobClient,
    gate: Path,
    deaths: Callable[[JobRecord], int],
) -> None:
    gate.touch()
    hasty = worker_settings.model_copy(update={"drain_s": 0.1})
    with RunningWorker(hasty, gate) as running:
        record = _taken(client)
    assert running.drained is False
    with redis.Redis.from_url(worker_settings.redis_url) as raw:
        (sign,) = raw.scan_iter(f"{worker_settings.redis_key_prefix}:worker:*")
        # Remembered, and not only not silent yet.
        assert raw.get(sign) == b"left"
    assert deaths(record) == 0


def test_job_that_is_handed_back_for_ever_ends_with_its_deadline(
    worker_settings: WorkerSettings, client: JobClient, gate: Path
) -> None:
    gate.touch()
    hasty = worker_settings.model_copy(update={"drain_s": 0.0})
    job_id = client.submit(job_record(timeout_s=2.0))
    while (outcome := client.look(job_id).outcome) is None:
        begun = client.look(job_id).attempt_count
        with RunningWorker(hasty, gate):
            eventually(
                lambda begun=begun: (
                    client.look(job_id).attempt_count > begun or client.look(job_id).outcome
                )
            )
    assert outcome.state == job_pb2.JOB_STATE_EXPIRED
    # How often depends on the machine.
    assert client.look(job_id).attempt_count > 1


def test_worker_with_a_job_in_hand_gives_signs_of_life(
    running: RunningWorker,
    client: JobClient,
    gate: Path,
    worker_settings: WorkerSettings,
    deaths: Callable[[JobRecord], int],
) -> None:
    gate.touch()
    record = _taken(client)
    with redis.Redis.from_url(worker_settings.redis_url) as raw:
        (sign,) = raw.scan_iter(f"{worker_settings.redis_key_prefix}:worker:*")
        for _ in range(3):
            raw.delete(sign)
            eventually(lambda: raw.get(sign) == b"alive", what="the next sign")
    assert deaths(record) == 0
    gate.unlink()
    assert client.outcome(record.id).state == job_pb2.JOB_STATE_SUCCEEDED


def test_worker_of_which_a_thread_dies_has_died_at_what_it_had_in_hand(
    worker_settings: WorkerSettings,
    client: JobClient,
    gate: Path,
    deaths: Callable[[JobRecord], int],
) -> None:
    gate.touch()
    with RunningWorker(worker_settings, gate) as running:
        record = _taken(client)

        def fail() -> None:
            raise ZeroDivisionError

        running.engine.step = fail  # type: ignore[assignment,method-assign]  # the fault under test
        eventually(lambda: running.failure is not None, what="run raises")
    assert deaths(record) == 1


def test_worker_that_is_told_to_leave_in_a_step_without_end_has_died_at_what_it_had_in_hand(
    worker_settings: WorkerSettings,
    client: JobClient,
    gate: Path,
    deaths: Callable[[JobRecord], int],
) -> None:
    gate.touch()
    stalls, lets_go = threading.Event(), threading.Event()
    changes = {"drain_s": 0.1, "step_stall_s": 0.2}
    with RunningWorker(worker_settings.model_copy(update=changes), gate) as running:
        record = _taken(client)

        def stall() -> tuple[()]:
            stalls.set()
            lets_go.wait(60)
            return ()

        running.engine.step = stall  # type: ignore[assignment,method-assign]  # the fault under test
        eventually(running.worker.not_alive, what="the probe has found it")
        running.worker.stop()
        eventually(lambda: deaths(record) == 1)
        lets_go.set()
    assert stalls.is_set()
    assert deaths(record) == 1


def test_worker_that_is_told_to_leave_while_an_image_is_prepared_without_end_has_died_at_it(
    worker_settings: WorkerSettings,
    client: JobClient,
    gate: Path,
    deaths: Callable[[JobRecord], int],
) -> None:
    lets_go = threading.Event()
    changes = {"drain_s": 0.1, "step_stall_s": 0.2}
    with RunningWorker(worker_settings.model_copy(update=changes), gate) as running:
        prepare = running.engine.prepare

        def stall(content: bytes) -> PreparedImage:
            lets_go.wait(60)
            return prepare(content)

        running.engine.prepare = stall  # type: ignore[method-assign]  # the fault under test
        record = job_record()
        client.submit(record)
        eventually(running.worker.not_alive, what="the probe has found it")
        assert "an image has been in preparation" in running.worker.not_alive()[0]
        running.worker.stop()
        eventually(lambda: deaths(record) == 1)
        lets_go.set()
    assert deaths(record) == 1
