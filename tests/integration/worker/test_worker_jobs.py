"""One worker inside the test's process, on real Redis Streams and a real Redis result store."""

import threading
from pathlib import Path

import redis
from arno.api.v1 import job_pb2, types_pb2
from arno.bus.ports import DEAD_LETTERS, topic_name
from arno.bus.v1.records_pb2 import DeadJob
from arno.vocabulary import JobState
from arno.worker.settings import WorkerSettings
from support.builders import wire_task
from support.eventually import eventually
from support.images import png
from support.job_client import JobClient, caption, job_record
from support.polled_consumer import PolledConsumer
from support.redis_server import RedisServer
from support.workers import RunningWorker


def test_cascade_runs_on_one_job_and_answers_in_request_order(
    running: RunningWorker, client: JobClient
) -> None:
    record = job_record(
        caption("cap"),
        wire_task("CAPTION_TO_PHRASE_GROUNDING", id="ground", input_from="cap"),
        wire_task("OD", id="od"),
        wire_task("REGION_TO_DESCRIPTION", id="each", input_from="od"),
        wire_task("REGION_TO_DESCRIPTION", id="none", input_from="cap"),
    )
    outcome = client.outcome(client.submit(record))
    assert outcome.state == job_pb2.JOB_STATE_SUCCEEDED
    results = outcome.response.results
    assert [result.id for result in results] == ["cap", "ground", "od", "each.0", "none"]
    assert results[1].text == "null"
    assert results[1].answer.grounding.phrases[0].phrase == "null"
    assert results[3].region == results[2].answer.detection.regions[0].box
    assert results[3].answer.text.text == "null"
    assert results[4].error.reason == "INPUT_UNAVAILABLE"
    assert outcome.response.model.name == "null"
    assert results[0].answer.timings.queue.ToNanoseconds() > 0


def test_candidates_are_scored_for_every_region_that_a_task_follows(
    running: RunningWorker, client: JobClient
) -> None:
    names = [types_pb2.Candidate(text=name) for name in ("cat", "dog")]
    record = job_record(
        wire_task("OD", id="od"),
        wire_task("REGION_TO_CATEGORY", id="what", input_from="od", candidates=names),
    )
    outcome = client.outcome(client.submit(record))
    objects, what = outcome.response.results
    assert what.id == "what.0"
    assert what.region == objects.answer.detection.regions[0].box
    scored = what.answer.candidates
    assert [one.answer.text.text for one in scored] == ["cat", "dog"]
    assert [one.posterior for one in scored] == [0.5, 0.5]
    assert len(scored[0].token_logprobs) == scored[0].answer.token_count == 5
    assert not objects.answer.candidates


def test_many_jobs_end_once_each_and_nothing_stays_unfinished(
    running: RunningWorker, client: JobClient
) -> None:
    ids = client.submit_all([job_record(caption(), wire_task("OD", id="1")) for _ in range(150)])
    outcomes = [client.outcome(job_id) for job_id in ids]
    assert {outcome.response.job_id for outcome in outcomes} == set(ids)
    assert all(len(outcome.response.results) == 2 for outcome in outcomes)
    running.leave()
    assert running.drained
    assert running.counts("arno_worker_jobs_total") == {"SUCCEEDED": 150}
    assert running.counts("arno_worker_duplicates_total") == {}
    assert running.counts("arno_worker_repeated_deliveries_total") == {}


def test_broken_image_fails_its_own_job_only(running: RunningWorker, client: JobClient) -> None:
    broken = client.submit(job_record(image=b"not an image"))
    whole = client.submit(job_record())
    assert client.outcome(whole).state == job_pb2.JOB_STATE_SUCCEEDED
    outcome = client.outcome(broken)
    assert outcome.state == job_pb2.JOB_STATE_FAILED
    assert outcome.error.reason == "INVALID_IMAGE"


def test_image_from_the_blob_store_is_used_and_a_lost_one_fails_the_job(
    running: RunningWorker, client: JobClient
) -> None:
    record, lost = job_record(), job_record()
    record.blob.sha256 = client.put_blob(png())
    lost.blob.sha256 = "0" * 64
    assert client.outcome(client.submit(record)).state == job_pb2.JOB_STATE_SUCCEEDED
    assert client.outcome(client.submit(lost)).error.metadata["field"] == "image"


def test_unreadable_record_goes_to_the_dead_channel_and_holds_nobody_up(
    running: RunningWorker, client: JobClient, worker_settings: WorkerSettings
) -> None:
    with PolledConsumer(worker_settings, ["dead"]) as dead:
        client.publish(b"\xff\xff\xff foreign bytes")
        client.publish(b"")
        assert client.outcome(client.submit(job_record())).state == job_pb2.JOB_STATE_SUCCEEDED
        eventually(lambda: len(dead.values) == 2, what="both are dead letters")
    dead_jobs = [DeadJob.FromString(value) for value in dead.values]
    assert {dead_job.error.reason for dead_job in dead_jobs} == {"UNREADABLE_RECORD"}
    assert b"\xff\xff\xff foreign bytes" in {dead_job.unreadable_value for dead_job in dead_jobs}
    running.leave()
    assert running.drained
    assert running.counts("arno_worker_dead_letters_total") == {"UNREADABLE_RECORD": 2}


def test_dead_letter_waits_until_its_stream_is_one_and_neighbours_go_on(
    running: RunningWorker, client: JobClient, worker_settings: WorkerSettings
) -> None:
    dead = topic_name(worker_settings.topic_prefix, DEAD_LETTERS)
    with redis.Redis.from_url(worker_settings.redis_url) as raw:
        raw.delete(dead)
        raw.rpush(dead, "foreign")
        client.publish(b"no job at all")
        outcome = client.outcome(client.submit(job_record()))
        assert outcome.state == job_pb2.JOB_STATE_SUCCEEDED
        assert running.failure is None
        raw.delete(dead)
        eventually(
            lambda: raw.exists(dead) and raw.xlen(dead) == 1, what="the dead letter has come"
        )


def test_expired_job_is_answered_without_being_prepared(
    running: RunningWorker, client: JobClient
) -> None:
    # Its image could not be prepared, so another state would show.
    job_id = client.submit(job_record(image=b"not an image", timeout_s=-1))
    outcome = client.outcome(job_id)
    assert outcome.state == job_pb2.JOB_STATE_EXPIRED
    assert outcome.error.reason == "DEADLINE_EXCEEDED"


def test_deadline_stops_a_job_that_waits_in_the_engine(
    running: RunningWorker, client: JobClient, gate: Path
) -> None:
    gate.touch()
    follower = wire_task("CAPTION_TO_PHRASE_GROUNDING", id="1", input_from="0")
    outcome = client.outcome(client.submit(job_record(caption(), follower, timeout_s=0.3)))
    assert outcome.state == job_pb2.JOB_STATE_EXPIRED
    assert [r.error.reason for r in outcome.response.results] == ["DEADLINE_EXCEEDED"] * 2


def test_cancelled_job_leaves_the_engine_and_its_neighbour_stays(
    running: RunningWorker, client: JobClient, gate: Path
) -> None:
    gate.touch()
    unwanted, wanted = client.submit(job_record()), client.submit(job_record())
    eventually(lambda: client.look(unwanted).state is JobState.ENCODING)
    client.cancel(unwanted)
    assert client.outcome(unwanted).state == job_pb2.JOB_STATE_CANCELLED
    assert client.look(wanted).outcome is None
    gate.unlink()
    assert client.outcome(wanted).state == job_pb2.JOB_STATE_SUCCEEDED


def test_job_delivered_twice_has_one_outcome(running: RunningWorker, client: JobClient) -> None:
    record = job_record()
    first = client.outcome(client.submit(record))
    client.publish(record.SerializeToString())
    eventually(lambda: running.counts("arno_worker_repeated_deliveries_total") == {"": 1})
    assert client.look(record.id).outcome == first


def test_job_that_the_store_lost_between_two_deliveries_leaves_nothing_unfinished(
    running: RunningWorker, client: JobClient, gate: Path, worker_settings: WorkerSettings
) -> None:
    gate.touch()
    record = job_record()
    client.submit(record)
    eventually(lambda: client.look(record.id).state is JobState.ENCODING)
    with redis.Redis.from_url(worker_settings.redis_url) as raw:
        raw.delete(f"{worker_settings.redis_key_prefix}:job:{record.id}")
    client.publish(record.SerializeToString())
    eventually(lambda: running.counts("arno_worker_in_hand_jobs") == {"": 2}, what="in hand twice")
    gate.unlink()
    assert client.outcome(record.id).state == job_pb2.JOB_STATE_SUCCEEDED
    eventually(lambda: running.counts("arno_worker_unfinished_records") == {})


def test_unknown_task_of_a_newer_gateway_fails_alone(
    running: RunningWorker, client: JobClient
) -> None:
    newer = types_pb2.TaskSpec(id="newer", task=9999)  # type: ignore[arg-type]  # a newer number
    outcome = client.outcome(client.submit(job_record(newer, caption("known"))))
    assert outcome.response.results[0].error.reason == "INVALID_FIELD"
    assert outcome.response.results[1].answer.text.text == "null"


def test_store_that_dies_mid_flight_loses_nothing(
    running: RunningWorker, client: JobClient, gate: Path, own_redis_server: RedisServer
) -> None:
    gate.touch()
    ids = client.submit_all([job_record() for _ in range(20)])
    eventually(lambda: running.counts("arno_worker_in_hand_jobs") == {"": 20})
    own_redis_server.kill()
    gate.unlink()
    eventually(lambda: "the result store is away" in running.worker.problems())
    assert running.registry.get_sample_value("arno_worker_store_up") == 0
    # A restart would only load the model again.
    assert running.worker.not_ready() == running.worker.not_alive() == []
    own_redis_server.start()
    states = {client.outcome(job_id).state for job_id in ids}
    assert states == {job_pb2.JOB_STATE_SUCCEEDED}
    eventually(lambda: not running.worker.problems(), what="the store is back")
    running.leave()
    assert running.drained


def test_death_of_a_thread_ends_the_worker(
    worker_settings: WorkerSettings, client: JobClient, gate: Path
) -> None:
    with RunningWorker(worker_settings, gate) as running:
        broken = threading.Event()

        def fail() -> None:
            broken.set()
            raise ZeroDivisionError

        running.engine.step = fail  # type: ignore[assignment,method-assign]  # the fault under test
        client.submit(job_record())
        eventually(lambda: running.failure is not None, what="run raises")
        assert broken.is_set()
    assert isinstance(running.failure, RuntimeError)
