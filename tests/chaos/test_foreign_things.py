"""What others left on the topics and under the keys: answered or buried, never a stop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from arno.api.v1 import job_pb2
from arno.bus import make_dead_letter_queue, topic_name
from arno.bus.v1.records_pb2 import DeadJob
from arno.worker.settings import WorkerSettings
from kafka import KafkaProducer
from support.eventually import eventually
from support.job_client import JobClient, job_record
from support.workers import RunningWorker


@pytest.fixture
def raw(settings: WorkerSettings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.redis_url) as client:
        yield client


def _publish_foreign(settings: WorkerSettings, raw: redis.Redis) -> int:
    """Put on the interactive lane what nobody of ours would; return how many records."""
    topic = topic_name(settings.topic_prefix, "interactive")
    if settings.bus == "redis":
        raw.xadd(topic, {b"foreign": b"field"})
        raw.xadd(topic, {b"v": b"\xff\xfe", b"h:\xff\xfe": b"\xff"})
        return 2
    producer = KafkaProducer(bootstrap_servers=settings.kafka_bootstrap)
    producer.send(topic, key=b"a tombstone", value=None).get(20)
    producer.send(topic, value=b"\xff\xfe", headers=[("traceparent", b"\xff")]).get(20)
    producer.send(topic, value=b"").get(20)
    producer.close()
    return 3


def test_foreign_records_are_buried_and_hold_nobody_up(
    settings: WorkerSettings, raw: redis.Redis, tmp_path: Path
) -> None:
    count = _publish_foreign(settings, raw)
    with (
        JobClient(settings) as client,
        RunningWorker(settings, tmp_path / "no-gate") as running,
        contextlib.closing(make_dead_letter_queue(settings)) as queue,
    ):
        outcome = client.outcome(client.submit(job_record()), timeout_s=60)
        assert outcome.state == job_pb2.JOB_STATE_SUCCEEDED
        letters = eventually(
            lambda: found if len(found := list(queue.read())) >= count else None, timeout_s=60
        )
        assert letters is not None
        reasons = [DeadJob.FromString(letter.value).error.reason for letter in letters]
        assert reasons == ["UNREADABLE_RECORD"] * count
        assert running.counts("arno_worker_dead_letters_total") == {"UNREADABLE_RECORD": count}


@pytest.mark.parametrize("settings", ["redis"], indirect=True)
@pytest.mark.parametrize("what", ["job", "watchers"])
def test_job_whose_key_holds_something_else_is_made_anew(
    settings: WorkerSettings, raw: redis.Redis, tmp_path: Path, what: str
) -> None:
    with JobClient(settings) as client:
        spoiled, neighbour = client.submit_all([job_record() for _ in range(2)])
        key = f"{settings.redis_key_prefix}:{what}:{spoiled}"
        raw.delete(key)
        raw.rpush(key, "foreign")
        with RunningWorker(settings, tmp_path / "no-gate"):
            for job_id in (neighbour, spoiled):
                outcome = eventually(lambda job_id=job_id: client.find(job_id), timeout_s=60)
                assert outcome.state == job_pb2.JOB_STATE_SUCCEEDED


@pytest.mark.parametrize("settings", ["redis"], indirect=True)
def test_image_whose_key_holds_something_else_fails_its_own_job(
    settings: WorkerSettings, raw: redis.Redis, tmp_path: Path
) -> None:
    with JobClient(settings) as client, RunningWorker(settings, tmp_path / "no-gate"):
        record = job_record()
        record.blob.sha256 = "0" * 64
        raw.rpush(f"{settings.redis_key_prefix}:blob:{record.blob.sha256}", "foreign")
        lost, sound = client.submit_all([record, job_record()])
        error = client.outcome(lost).error
        assert (error.reason, error.retryable) == ("IMAGE_LOST", True)
        assert client.outcome(sound).state == job_pb2.JOB_STATE_SUCCEEDED


@pytest.mark.parametrize("settings", ["redis"], indirect=True)
def test_job_that_is_something_else_is_unknown_to_whoever_asks(
    settings: WorkerSettings, raw: redis.Redis
) -> None:
    with JobClient(settings) as client:
        raw.rpush(f"{settings.redis_key_prefix}:job:strange", "foreign")
        assert client.find("strange") is None
        client.cancel("strange")
        client.delete("strange")


@pytest.mark.parametrize("settings", ["redis"], indirect=True)
@pytest.mark.parametrize("spoiled_when", ["before it is begun", "before it ends"])
def test_job_whose_hash_others_wrote_into_is_buried_and_holds_nobody_up(
    settings: WorkerSettings, raw: redis.Redis, tmp_path: Path, spoiled_when: str
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    with (
        JobClient(settings) as client,
        contextlib.closing(make_dead_letter_queue(settings)) as queue,
    ):
        spoiled, neighbour = client.submit_all([job_record() for _ in range(2)])
        key = f"{settings.redis_key_prefix}:job:{spoiled}"
        if spoiled_when == "before it is begun":
            raw.hset(key, "attempt_count", "foreign")
        with RunningWorker(settings, gate) as running:
            if spoiled_when == "before it ends":
                eventually(lambda: client.look(spoiled).attempt_count == 1)
                raw.hset(key, "attempt_count", "foreign")
            gate.unlink()
            assert client.outcome(neighbour).state == job_pb2.JOB_STATE_SUCCEEDED
            (letter,) = eventually(lambda: list(queue.read()), timeout_s=60)
            dead = DeadJob.FromString(letter.value)
            assert (dead.job.id, dead.error.reason) == (spoiled, "STORED_JOB_INVALID")
            eventually(lambda: running.counts("arno_worker_lag_records") == {})


def test_times_that_no_store_could_keep_are_buried(
    settings: WorkerSettings, tmp_path: Path
) -> None:
    absurd = job_record()
    absurd.deadline_at_ms = 2**62
    with (
        JobClient(settings) as client,
        RunningWorker(settings, tmp_path / "no-gate"),
        contextlib.closing(make_dead_letter_queue(settings)) as queue,
    ):
        client.publish(absurd.SerializeToString())
        assert client.outcome(client.submit(job_record())).state == job_pb2.JOB_STATE_SUCCEEDED
        (letter,) = eventually(lambda: list(queue.read()), timeout_s=60)
        assert "deadline_at_ms" in DeadJob.FromString(letter.value).error.message
