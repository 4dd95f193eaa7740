"""`JobService`: submit, look, watch, cancel, forget; and never another tenant's job."""

from __future__ import annotations

import asyncio

import grpc
import pytest
import redis
from arno.api.v1 import job_pb2, types_pb2
from arno.vocabulary import Lane
from google.protobuf.duration_pb2 import Duration
from support import images
from support.builders import new_job
from support.eventually import eventually_async
from support.gateway_calls import caption, fault_of
from support.stand_in_worker import answer


def submission(**fields):
    fields.setdefault("tasks", [caption(id="a"), caption(id="b")])
    fields.setdefault("image", types_pb2.Image(content=images.png()))
    return job_pb2.SubmitJobRequest(**fields)


async def taken(worker, count=1):
    async def enough():
        return len(worker.taken) >= count and list(worker.taken)

    return await eventually_async(enough, what=f"{count} jobs taken")


async def all_of(watch):
    while await watch.read() is not grpc.aio.EOF:
        pass


async def test_submitted_job_is_queued_then_told_with_its_results(arno, patient_worker):
    job = (await arno.jobs.SubmitJob(submission(), timeout=20)).job
    (record,) = await taken(patient_worker)
    assert record.id == job.id
    assert record.lane == types_pb2.LANE_BATCH
    assert job.expire_time.seconds - job.submit_time.seconds == 24 * 3600
    patient_worker.finish(record)
    job = (await arno.jobs.GetJob(job_pb2.GetJobRequest(job_id=job.id), timeout=20)).job
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED
    assert [result.id for result in job.response.results] == ["a", "b"]
    assert job.attempt_count == 1
    assert job.HasField("end_time")


async def test_subscriptions_that_a_request_names_are_kept_with_its_job(arno):
    named = submission(notify=["orders", "audit", "orders"])
    job = (await arno.jobs.SubmitJob(named, timeout=20)).job
    assert (await arno.store.get(job.id)).notify == ("orders", "audit")


@pytest.mark.parametrize(
    ("notify", "field"),
    [(["a"] * 9, "notify"), (["a", "b c"], "notify[1]"), ([""], "notify[0]")],
)
async def test_bad_subscriptions_of_a_request_are_named(arno, notify, field):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await arno.jobs.SubmitJob(submission(notify=notify), timeout=20)
    assert fault_of(refused.value).metadata["field"] == field


async def test_image_of_a_job_that_was_accepted_is_counted(arno):
    await arno.jobs.SubmitJob(submission(), timeout=20)
    with pytest.raises(grpc.aio.AioRpcError):
        await arno.jobs.SubmitJob(submission(image=types_pb2.Image(content=b"none")), timeout=20)
    sample = arno.registry.get_sample_value
    assert sample("arno_gateway_image_bytes_count") == 1
    assert sample("arno_gateway_image_bytes_sum") == len(images.png())


async def test_watch_tells_each_result_as_it_is_ready_and_ends_with_the_job(arno, patient_worker):
    job = (await arno.jobs.SubmitJob(submission(), timeout=20)).job
    (record,) = await taken(patient_worker)
    watch = arno.jobs.WatchJob(job_pb2.WatchJobRequest(job_id=job.id), timeout=30)
    first = await watch.read()
    assert first.job.id == job.id
    patient_worker.progress(record, {0: answer(record.tasks[0], "early")})
    while not (await watch.read()).job.response.results:
        pass
    patient_worker.finish(record)
    states = [job_pb2.JOB_STATE_UNSPECIFIED]
    while (change := await watch.read()) is not grpc.aio.EOF:
        states.append(change.job.state)
    assert states[-1] == job_pb2.JOB_STATE_SUCCEEDED


async def test_cancel_reaches_the_worker_and_may_be_repeated(arno, patient_worker):
    job = (await arno.jobs.SubmitJob(submission(), timeout=20)).job
    (record,) = await taken(patient_worker)
    for _ in range(2):
        await arno.jobs.CancelJob(job_pb2.CancelJobRequest(job_id=job.id), timeout=20)
    assert patient_worker.cancelled(record)


async def test_job_that_nobody_has_begun_is_cancelled_at_once(arno):
    job = (await arno.jobs.SubmitJob(submission(), timeout=20)).job
    answer_ = await arno.jobs.CancelJob(job_pb2.CancelJobRequest(job_id=job.id), timeout=20)
    assert answer_.job.state == job_pb2.JOB_STATE_CANCELLED


async def test_deleted_job_is_unknown_and_deleting_again_is_fine(arno, worker):
    job = (await arno.jobs.SubmitJob(submission(), timeout=20)).job
    for _ in range(2):
        await arno.jobs.DeleteJob(job_pb2.DeleteJobRequest(job_id=job.id), timeout=20)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await arno.jobs.GetJob(job_pb2.GetJobRequest(job_id=job.id), timeout=20)
    fault = fault_of(refused.value)
    assert (fault.code, fault.reason) == ("NOT_FOUND", "JOB_NOT_FOUND")


async def test_submission_with_a_known_key_is_the_same_job_on_the_bus_once(arno):
    jobs = [
        (await arno.jobs.SubmitJob(submission(idempotency_key="k"), timeout=20)).job
        for _ in range(5)
    ]
    assert len({job.id for job in jobs}) == 1
    # Five records of a job that waits would count as five attempts at it, and so as a poisoned one.
    unfinished = await arno.publisher.unfinished()
    assert unfinished[Lane.BATCH] == 1


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [(0, "INVALID_FIELD"), (-5, "INVALID_FIELD"), (8 * 86400, "LIMIT_EXCEEDED")],
)
async def test_time_to_live_outside_its_range_is_refused(arno, seconds, reason):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await arno.jobs.SubmitJob(submission(time_to_live=Duration(seconds=seconds)), timeout=20)
    fault = fault_of(refused.value)
    assert (fault.reason, fault.metadata["field"]) == (reason, "time_to_live")


@pytest.mark.parametrize("job_id", ["", "no/slashes", "x" * 129])
async def test_impossible_job_id_is_refused(arno, job_id):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await arno.jobs.GetJob(job_pb2.GetJobRequest(job_id=job_id), timeout=20)
    assert fault_of(refused.value).metadata["field"] == "job_id"


async def test_another_tenants_job_is_unknown_to_every_method_and_stays(arno):
    await arno.store.claim(new_job(id="theirs", tenant="other"))
    calls = [
        arno.jobs.GetJob(job_pb2.GetJobRequest(job_id="theirs"), timeout=20),
        arno.jobs.CancelJob(job_pb2.CancelJobRequest(job_id="theirs"), timeout=20),
        arno.jobs.WatchJob(job_pb2.WatchJobRequest(job_id="theirs"), timeout=20).read(),
    ]
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert fault_of(refused.value).reason == "JOB_NOT_FOUND"
    await arno.jobs.DeleteJob(job_pb2.DeleteJobRequest(job_id="theirs"), timeout=20)
    left = await arno.store.get("theirs")
    assert left is not None
    assert not left.cancel_requested


async def test_watch_ends_when_the_gateway_drains(arno, patient_worker):
    job = (await arno.jobs.SubmitJob(submission(), timeout=20)).job
    watch = arno.jobs.WatchJob(job_pb2.WatchJobRequest(job_id=job.id), timeout=30)
    await watch.read()
    stop = asyncio.create_task(arno.gateway.stop())
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await all_of(watch)
    assert fault_of(ended.value).reason == "DRAINING"
    await stop


@pytest.mark.parametrize(
    ("gone", "reason"), [(("job", "since"), "BACKEND_UNAVAILABLE"), (("job",), "JOB_NOT_FOUND")]
)
async def test_watch_of_a_job_that_the_store_forgot_with_all_others_is_to_be_asked_again(
    arno, gone, reason
):
    job = (await arno.jobs.SubmitJob(submission(), timeout=20)).job
    watch = arno.jobs.WatchJob(job_pb2.WatchJobRequest(job_id=job.id), timeout=30)
    await watch.read()
    prefix = arno.settings.redis_key_prefix
    keys = {"job": f"{prefix}:job:{job.id}", "since": f"{prefix}:since"}
    with redis.Redis.from_url(arno.settings.redis_url) as raw:
        raw.delete(*(keys[name] for name in gone))
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await all_of(watch)
    assert fault_of(ended.value).reason == reason
