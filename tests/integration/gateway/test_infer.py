"""`Infer`: answers, deadlines, callers that leave, retries and full budgets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc
import pytest
from arno.api.v1 import job_pb2, types_pb2, vision_pb2
from arno.bus.v1.records_pb2 import JobOutcome
from arno.gateway.settings import GatewaySettings
from arno.results.worker_store import WorkerStore
from support import images
from support.eventually import eventually_async
from support.gateway_calls import caption, fault_of, infer_request
from support.stand_in_worker import StandInWorker, answer


async def taken(worker: StandInWorker, count: int = 1):
    async def enough():
        return len(worker.taken) >= count and list(worker.taken)

    return await eventually_async(enough, what=f"{count} jobs taken")


async def test_each_task_is_answered_in_the_order_of_the_request(arno, worker):
    response = await arno.vision.Infer(
        infer_request(caption(id="a"), caption(), caption(id="z")), timeout=20
    )
    assert [result.id for result in response.results] == ["a", "1", "z"]
    assert [result.answer.text.text for result in response.results] == ["a", "1", "z"]
    assert (response.image.width_px, response.image.height_px) == (64, 48)
    assert response.image.mime_type == "image/png"
    assert response.job_id == worker.taken[0].id


async def test_record_carries_what_the_worker_needs(arno, worker):
    content = images.jpeg()
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await arno.vision.Infer(
        infer_request(content=content, lane=types_pb2.LANE_BATCH),
        timeout=20,
        metadata=(("traceparent", traceparent),),
    )
    record = worker.taken[0]
    assert record.tenant == "default"
    assert record.lane == types_pb2.LANE_BATCH
    assert worker.image(record) == content
    assert 0 < record.deadline_at_ms - record.submitted_at_ms < 20_000
    headers = worker.deliveries[0].record.headers
    assert headers["traceparent"].decode().split("-")[1] == traceparent.split("-")[1]


async def test_large_image_travels_through_the_blob_store(arno, worker):
    content = images.noise_png(arno.settings.inline_image_bytes_max + 1)
    await arno.vision.Infer(infer_request(content=content), timeout=20)
    record = worker.taken[0]
    assert record.WhichOneof("image") == "blob"
    assert record.blob.sha256 == record.image_description.sha256
    assert worker.image(record) == content


async def test_deadline_without_any_answer_is_deadline_exceeded(gateway_settings, running_gateway):
    # The server's own deadline: with the client's, a stalled machine could let its timer win.
    async with running_gateway(gateway_settings(default_deadline_s=0.5)) as arno:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await arno.vision.Infer(infer_request())
    fault = fault_of(failed.value)
    assert (fault.code, fault.reason) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
    assert fault.metadata["state"] == "QUEUED"


async def test_deadline_hands_out_what_was_answered_and_errors_for_the_rest(
    gateway_settings, running_gateway
):
    async with running_gateway(gateway_settings(default_deadline_s=3)) as arno:
        with StandInWorker(arno.settings, answers=False) as worker:
            call = arno.vision.Infer(
                infer_request(caption(id="late"), caption(id="done"), caption(id="later"))
            )
            (record,) = await taken(worker)
            worker.progress(record, {1: answer(record.tasks[1], "in time")})
            response = await call
    assert [result.id for result in response.results] == ["late", "done", "later"]
    assert response.results[1].answer.text.text == "in time"
    for result in (response.results[0], response.results[2]):
        assert result.error.reason == "DEADLINE_EXCEEDED"
        assert result.task == types_pb2.TASK_CAPTION


async def test_expired_job_with_partial_results_is_answered(arno, patient_worker):
    call = arno.vision.Infer(infer_request(caption(id="a"), caption(id="b")), timeout=20)
    (record,) = await taken(patient_worker)
    outcome = JobOutcome(state=job_pb2.JOB_STATE_EXPIRED)
    outcome.response.results.append(answer(record.tasks[0], "first"))
    outcome.error.MergeFrom(types_pb2.Error(code=4, reason="DEADLINE_EXCEEDED", message="late"))
    patient_worker.finish(record, outcome)
    response = await call
    assert response.results[0].answer.text.text == "first"
    assert response.results[1].error.message == "late"


async def test_failed_job_becomes_the_status_of_the_call(arno, patient_worker):
    call = arno.vision.Infer(infer_request(), timeout=20)
    (record,) = await taken(patient_worker)
    error = types_pb2.Error(code=10, reason="POISONED_JOB", message="given up", metadata={"n": "3"})
    patient_worker.finish(record, JobOutcome(state=job_pb2.JOB_STATE_FAILED, error=error))
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    fault = fault_of(failed.value)
    assert (fault.code, fault.reason, fault.message) == ("ABORTED", "POISONED_JOB", "given up")
    assert fault.metadata == {"n": "3"}


async def test_caller_that_leaves_cancels_its_job(arno, patient_worker):
    call = arno.vision.Infer(infer_request(), timeout=20)
    (record,) = await taken(patient_worker)
    call.cancel()

    async def cancelled():
        return patient_worker.cancelled(record)

    await eventually_async(cancelled, what="the job is cancelled")


async def test_caller_with_a_key_may_leave_and_fetch_the_answer_later(arno, patient_worker):
    request = infer_request(idempotency_key="k1")
    call = arno.vision.Infer(request, timeout=20)
    (record,) = await taken(patient_worker)
    call.cancel()
    patient_worker.finish(record)
    response = await arno.vision.Infer(request, timeout=20)
    assert response.job_id == record.id
    assert not patient_worker.cancelled(record)


async def test_key_with_the_same_body_runs_once_and_with_another_is_refused(arno, worker):
    request = infer_request(caption(id="a"), idempotency_key="k1")
    first = await arno.vision.Infer(request, timeout=20)
    again = await arno.vision.Infer(request, timeout=20)
    assert first == again
    assert len(worker.taken) == 1
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await arno.vision.Infer(infer_request(caption(id="b"), idempotency_key="k1"), timeout=20)
    fault = fault_of(refused.value)
    assert (fault.code, fault.reason) == ("ALREADY_EXISTS", "IDEMPOTENCY_CONFLICT")
    assert fault.metadata["job_id"] == first.job_id


async def test_key_of_an_expired_job_is_taken_over_by_a_new_one(arno, patient_worker):
    request = infer_request(idempotency_key="k1")
    call = arno.vision.Infer(request, timeout=20)
    (old,) = await taken(patient_worker)
    late = types_pb2.Error(code=4, reason="DEADLINE_EXCEEDED", message="late")
    patient_worker.finish(old, JobOutcome(state=job_pb2.JOB_STATE_EXPIRED, error=late))
    with pytest.raises(grpc.aio.AioRpcError):
        await call
    call = arno.vision.Infer(request, timeout=20)
    new = (await taken(patient_worker, 2))[1]
    patient_worker.finish(new)
    assert (await call).job_id == new.id != old.id


@pytest.mark.parametrize("limit", ["jobs_in_flight_max", "bytes_in_flight_max"])
async def test_full_budget_refuses_at_once_with_a_retry_delay_and_recovers(
    gateway_settings: Callable[..., GatewaySettings], limit, running_gateway
):
    async with running_gateway(gateway_settings(**{limit: 1, "overload_retry_s": 2.5})) as arno:
        with StandInWorker(arno.settings, answers=False) as worker:
            call = arno.vision.Infer(infer_request(), timeout=20)
            (record,) = await taken(worker)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await arno.vision.Infer(infer_request(), timeout=20)
            fault = fault_of(refused.value)
            assert (fault.code, fault.reason) == ("UNAVAILABLE", "OVERLOADED")
            assert fault.retry_delay_s == 2.5
            worker.finish(record)
            await call
            next_call = asyncio.ensure_future(arno.vision.Infer(infer_request(), timeout=20))
            worker.finish((await taken(worker, 2))[1])
            assert (await next_call).results


async def test_metrics_count_calls_by_method_and_code(arno, worker):
    await arno.vision.Infer(infer_request(), timeout=20)
    with pytest.raises(grpc.aio.AioRpcError):
        await arno.vision.Infer(infer_request(content=b""), timeout=20)

    def count(code: str):
        labels = {"method": "Infer", "code": code}
        return arno.registry.get_sample_value("arno_gateway_requests_total", labels)

    async def counted():
        return count("OK") == 1 and count("INVALID_ARGUMENT") == 1

    await eventually_async(counted)
    assert arno.registry.get_sample_value("arno_gateway_jobs_in_flight") == 0


async def test_models_are_those_that_workers_report(arno):
    model = types_pb2.Model(name="tiny", fingerprint="ab12", dtype="float32")
    worker = WorkerStore(arno.settings)
    try:
        await asyncio.to_thread(worker.report_pace, "one", 1.0, model)
    finally:
        worker.close()
    answer = await arno.vision.ListModels(vision_pb2.ListModelsRequest(), timeout=20)
    assert model in list(answer.models)
