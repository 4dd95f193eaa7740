"""The one order that loses nothing: the outcome is stored, then the delivery is done."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest
import redis
from arno.bus.ports import Delivery, Receipt, Record
from arno.bus.v1.records_pb2 import JobOutcome, JobRecord
from arno.engine import ModelCard
from arno.errors import ArnoError, StoredJobError
from arno.ops.clock import Clock
from arno.results.jobs import Attempt
from arno.results.settings import ResultSettings
from arno.results.worker_store import Update, WorkerStore
from arno.vocabulary import JobState
from arno.worker.job import Job, JobStage
from arno.worker.result_writer import EndEffects, ResultWriter
from arno.worker.retrying import Backend
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan
from support.builders import new_job
from support.clock import ManualClock
from support.eventually import eventually
from support.redis_server import RedisServer


@pytest.fixture
def writer(own_redis_server: RedisServer) -> Iterator[WorkerStore]:
    writer = WorkerStore(ResultSettings(redis_url=own_redis_server.url))
    yield writer
    writer.close()


class _Recorder:
    """Consumer, metrics and the other parts that learn of ends, of which it keeps a note."""

    def __init__(self, writer: WorkerStore) -> None:
        self._writer = writer
        self.steps: list[str] = []
        self.firsts: list[bool] = []
        self.states_at_done: list[JobState] = []
        self.records: dict[str, JobRecord] = {}

    def done(self, receipt: Receipt) -> None:
        self.steps.append("done")
        self.states_at_done.append(self._writer.begin(self.records[receipt.position]).state)

    def count_end(self, job: Job, outcome: JobOutcome, state: JobState, *, first: bool) -> None:
        self.steps.append("count")
        self.firsts.append(first)

    def leave(self, attempt: Attempt) -> None:
        self.steps.append("leave the quarantine")

    def give_up(
        self, record: JobRecord, channel: str, error: ArnoError, *, attempt_count: int
    ) -> None:
        self.steps.append(f"dead letter {error.reason} {attempt_count}")


class _Pace:
    def __init__(self, steps: list[str]) -> None:
        self._steps = steps

    def done(self, cost: float) -> None:
        self._steps.append("pace")


class _Span(NonRecordingSpan):
    """A span that notes its end, the last step of a job."""

    def __init__(self, steps: list[str]) -> None:
        super().__init__(INVALID_SPAN_CONTEXT)
        self._steps = steps

    def end(self, end_time: int | None = None) -> None:
        self._steps.append("span ends")


class _Writing:
    """One store thread; ``states_at_done`` is what the store knew at each done."""

    def __init__(self, writer: WorkerStore, clock: Clock | None = None) -> None:
        self.abandon = threading.Event()
        self.store = Backend("the result store", self.abandon)
        self.recorder = _Recorder(writer)
        parts, pace = cast("Any", self.recorder), cast("Any", _Pace(self.recorder.steps))
        effects = EndEffects(quarantine=parts, pace=pace, metrics=parts, dead_letters=parts)
        self.results = ResultWriter(writer, self.store, effects, clock or Clock())
        self._writer = writer
        self._thread = threading.Thread(target=self.results.run)
        self._thread.start()

    @property
    def firsts(self) -> list[bool]:
        return self.recorder.firsts

    def steps_of_an_end(self) -> list[str]:
        """Wait for the last step of an end, and return all of them in their order."""
        eventually(lambda: "span ends" in self.recorder.steps)
        return self.recorder.steps

    @property
    def states_at_done(self) -> list[JobState]:
        return self.recorder.states_at_done

    def take(self, record: JobRecord) -> Job:
        self.recorder.records[record.id] = record
        delivery = Delivery(Record("batch", b""), Receipt("batch", 0, record.id, 1), 0)
        job = Job(delivery, cast("Any", self.recorder))
        job.record, job.attempt = record, self._writer.begin(record)
        job.span = _Span(self.recorder.steps)
        return job

    def close(self) -> None:
        self.abandon.set()
        self.results.stop()
        self._thread.join()


@pytest.fixture
def writing(writer: WorkerStore) -> Iterator[_Writing]:
    writing = _Writing(writer)
    yield writing
    writing.close()


def _success(job: Job) -> JobOutcome:
    card = ModelCard("null", "null", "none", position_count=8, image_size_px=1)
    return job.outcome(JobState.SUCCEEDED, card=card, ended_at_ms=1)


def test_delivery_is_done_only_after_its_outcome_is_stored(writing: _Writing) -> None:
    job = writing.take(new_job())
    writing.results.end(job, _success(job))
    eventually(lambda: writing.firsts)
    assert writing.states_at_done == [JobState.SUCCEEDED]
    assert writing.firsts[0]


def test_last_chance_may_begin_before_the_pace_is_measured_and_the_span_covers_it_all(
    writing: _Writing,
) -> None:
    job = writing.take(new_job())
    writing.results.end(job, _success(job))
    order = ["done", "leave the quarantine", "count", "pace", "span ends"]
    assert writing.steps_of_an_end() == order
    assert job.stage is JobStage.DONE


def test_job_whose_end_cannot_be_stored_is_a_dead_letter_before_it_is_done(
    writing: _Writing, writer: WorkerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = writing.take(new_job())

    monkeypatch.setattr(writer, "write", lambda updates: [StoredJobError("not Arno's")])
    writing.results.end(job, _success(job))
    steps = writing.steps_of_an_end()
    assert steps[:3] == ["dead letter STORED_JOB_INVALID 1", "done", "leave the quarantine"]
    assert writing.firsts == [False]


def test_end_of_a_job_is_a_line_with_its_ids_for_who_looks_for_one(
    writing: _Writing, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "arno.worker.result_writer")
    job = writing.take(new_job())
    writing.results.end(job, _success(job))
    eventually(lambda: writing.firsts)
    (line,) = [vars(record) for record in caplog.records]
    assert (line["job_id"], line["state"], line["attempt"]) == (job.record.id, "SUCCEEDED", 1)
    assert len(line["trace_id"]) == 32


def test_outcome_waits_for_a_store_that_is_away(
    writing: _Writing, own_redis_server: RedisServer
) -> None:
    job = writing.take(new_job())
    own_redis_server.kill()
    writing.results.end(job, _success(job))
    eventually(lambda: not writing.store.available)
    assert writing.states_at_done == []
    own_redis_server.start()
    eventually(lambda: writing.firsts)
    assert writing.states_at_done == [JobState.SUCCEEDED]
    assert writing.store.available


def test_process_that_leaves_gives_up_without_declaring_done(
    writing: _Writing, own_redis_server: RedisServer
) -> None:
    job = writing.take(new_job())
    own_redis_server.kill()
    writing.results.end(job, _success(job))
    eventually(lambda: not writing.store.available)
    writing.close()
    assert writing.states_at_done == []
    assert writing.firsts == []


def test_ends_that_wait_for_the_store_are_written_in_one_round_trip(
    writing: _Writing, writer: WorkerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [writing.take(new_job()) for _ in range(5)]
    write, sizes, answering = writer.write, [], threading.Event()

    def noted(updates: Sequence[Update]) -> list[bool | StoredJobError]:
        sizes.append(len(updates))
        assert answering.wait(10)
        return write(updates)

    monkeypatch.setattr(writer, "write", noted)
    for job in jobs:
        writing.results.end(job, _success(job))
    eventually(lambda: sizes)
    answering.set()
    eventually(lambda: len(writing.firsts) == 5)
    # The first may have gone alone; the others waited for its answer.
    assert len(sizes) <= 2
    assert writing.firsts == [True] * 5
    assert writing.states_at_done == [JobState.SUCCEEDED] * 5


def test_job_that_the_store_refuses_spoils_no_other_of_its_round_trip(
    writing: _Writing, writer: WorkerStore, own_redis_server: RedisServer
) -> None:
    bad, good = writing.take(new_job()), writing.take(new_job())
    with redis.Redis.from_url(own_redis_server.url) as client:
        client.hset(writer._keys.job(bad.record.id), "attempt_count", "not a number")
    answers = writer.write([Update(one.attempt, outcome=_success(one)) for one in (bad, good)])
    assert isinstance(answers[0], StoredJobError)
    assert answers[1] is True


def test_second_end_of_a_job_is_dropped_and_its_delivery_done(writing: _Writing) -> None:
    origin = new_job()
    first, second = writing.take(origin), writing.take(origin)
    assert second.attempt.number == 2
    writing.results.end(first, _success(first))
    writing.results.end(second, _success(second))
    eventually(lambda: len(writing.firsts) == 2)
    assert sorted(writing.firsts) == [False, True]
    assert len(writing.states_at_done) == 2


def test_mere_progress_that_an_end_follows_at_once_is_never_sent(
    writer: WorkerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[JobState] = []
    write = writer.write

    def noted(updates: Sequence[Update]) -> list[bool | StoredJobError]:
        sent.extend(update.state for update in updates if update.outcome is None)
        return write(updates)

    monkeypatch.setattr(writer, "write", noted)
    behind = _Writing(writer, ManualClock())
    job = behind.take(new_job())
    behind.results.progress(job, JobState.ENCODING, decoded_token_count=0, task_results={})
    behind.results.end(job, _success(job))
    eventually(lambda: behind.firsts)
    behind.close()
    assert sent == []
