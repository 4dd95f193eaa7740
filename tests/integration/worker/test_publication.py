"""The one order that loses nothing: the outcome is stored, then the delivery is done."""

import threading
from collections.abc import Iterator

import pytest
from arno.bus.v1.records_pb2 import JobOutcome, JobRecord
from arno.engine import ModelCard
from arno.results.settings import ResultSettings
from arno.results.worker_store import WorkerStore
from arno.vocabulary import JobState
from arno.worker.outcomes import build_outcome
from arno.worker.publication import EndedJob, Publication
from arno.worker.retrying import Backend
from arno.worker.taken_job import TakenJob
from opentelemetry.trace import INVALID_SPAN
from support.builders import new_job
from support.eventually import eventually
from support.redis_server import RedisServer


@pytest.fixture
def writer(own_redis_server: RedisServer) -> Iterator[WorkerStore]:
    writer = WorkerStore(ResultSettings(redis_url=own_redis_server.url))
    yield writer
    writer.close()


class _Publishing:
    """One store thread; ``states_at_done`` is what the store knew at each done."""

    def __init__(self, writer: WorkerStore) -> None:
        self.abandon = threading.Event()
        self.store = Backend("the result store", self.abandon)
        self.ended: list[EndedJob] = []
        self.states_at_done: list[JobState] = []
        self.publication = Publication(writer, self.store, on_ended=self.ended.append)
        self._writer = writer
        self._thread = threading.Thread(target=self.publication.run)
        self._thread.start()

    def take(self, record: JobRecord) -> TakenJob:
        def done() -> None:
            self.states_at_done.append(self._writer.begin(record).state)

        attempt = self._writer.begin(record)
        return TakenJob(record, "batch", attempt, done, 0.0, 0.0, INVALID_SPAN)

    def close(self) -> None:
        self.abandon.set()
        self.publication.stop()
        self._thread.join()


@pytest.fixture
def publishing(writer: WorkerStore) -> Iterator[_Publishing]:
    publishing = _Publishing(writer)
    yield publishing
    publishing.close()


def _success(job: TakenJob) -> JobOutcome:
    card = ModelCard("null", "null", "none", position_count=8, image_size_px=1)
    return build_outcome(job.record, JobState.SUCCEEDED, card=card, ended_at_ms=1)


def test_delivery_is_done_only_after_its_outcome_is_stored(publishing: _Publishing) -> None:
    job = publishing.take(new_job())
    publishing.publication.end(job, _success(job))
    eventually(lambda: publishing.ended)
    assert publishing.states_at_done == [JobState.SUCCEEDED]
    assert publishing.ended[0].first


def test_end_of_a_job_is_a_line_with_its_ids_for_who_looks_for_one(
    publishing: _Publishing, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "arno.worker.publication")
    job = publishing.take(new_job())
    publishing.publication.end(job, _success(job))
    eventually(lambda: publishing.ended)
    (line,) = [vars(record) for record in caplog.records]
    assert (line["job_id"], line["state"], line["attempt"]) == (job.record.id, "SUCCEEDED", 1)
    assert len(line["trace_id"]) == 32


def test_outcome_waits_for_a_store_that_is_away(
    publishing: _Publishing, own_redis_server: RedisServer
) -> None:
    job = publishing.take(new_job())
    own_redis_server.kill()
    publishing.publication.end(job, _success(job))
    eventually(lambda: not publishing.store.available)
    assert publishing.states_at_done == []
    own_redis_server.start()
    eventually(lambda: publishing.ended)
    assert publishing.states_at_done == [JobState.SUCCEEDED]
    assert publishing.store.available


def test_process_that_leaves_gives_up_without_declaring_done(
    publishing: _Publishing, own_redis_server: RedisServer
) -> None:
    job = publishing.take(new_job())
    own_redis_server.kill()
    publishing.publication.end(job, _success(job))
    eventually(lambda: not publishing.store.available)
    publishing.close()
    assert publishing.states_at_done == []
    assert publishing.ended == []


def test_second_end_of_a_job_is_dropped_and_its_delivery_done(publishing: _Publishing) -> None:
    origin = new_job()
    first, second = publishing.take(origin), publishing.take(origin)
    assert second.attempt.number == 2
    publishing.publication.end(first, _success(first))
    publishing.publication.end(second, _success(second))
    eventually(lambda: len(publishing.ended) == 2)
    assert sorted(ended.first for ended in publishing.ended) == [False, True]
    assert len(publishing.states_at_done) == 2


def test_mere_progress_that_an_end_follows_at_once_is_never_sent(
    writer: WorkerStore, publishing: _Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[JobState] = []
    monkeypatch.setattr(writer, "progress", lambda attempt, state, **_: sent.append(state) or True)
    job = publishing.take(new_job())
    behind = Publication(
        writer, publishing.store, on_ended=publishing.ended.append, monotonic_s=lambda: 0.0
    )
    thread = threading.Thread(target=behind.run)
    thread.start()
    behind.progress(job, JobState.ENCODING, decoded_token_count=0, task_results={})
    behind.end(job, _success(job))
    eventually(lambda: publishing.ended)
    behind.stop()
    thread.join()
    assert sent == []
