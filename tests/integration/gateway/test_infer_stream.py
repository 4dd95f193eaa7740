"""`InferStream`: order, policies, faults of single frames, and the ends of a stream."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from arno.api.v1 import vision_pb2
from support import images
from support.eventually import eventually_async
from support.gateway_calls import caption, config, fault_of, frame, infer_request
from support.stand_in_worker import StandInWorker


async def taken(worker: StandInWorker, count: int):
    async def enough():
        return len(worker.taken) >= count and list(worker.taken)

    return await eventually_async(enough, what=f"{count} jobs taken")


async def opened(arno, first=None):
    call = arno.vision.InferStream(timeout=30)
    await call.write(first or config())
    return call


async def rest(call):
    await call.done_writing()
    return [response async for response in call]


async def test_results_come_in_the_order_of_the_frames_however_they_end(arno, patient_worker):
    call = await opened(arno, config(in_flight_max=5))
    for sequence in (3, 4, 8, 9, 20):
        await call.write(frame(sequence))
    records = await taken(patient_worker, 5)
    for index in (4, 1, 3, 0, 2):
        patient_worker.finish(records[index])
    responses = await rest(call)
    assert [response.sequence for response in responses] == [3, 4, 8, 9, 20]
    assert [response.timestamp_ms for response in responses] == [120, 160, 320, 360, 800]
    assert all(response.response.results[0].answer.text.text == "0" for response in responses)


async def test_unordered_results_come_as_their_jobs_end(arno, patient_worker):
    call = await opened(arno, config(in_flight_max=3, unordered=True))
    for sequence in range(3):
        await call.write(frame(sequence))
        records = await taken(patient_worker, sequence + 1)
    for index in (2, 0, 1):
        patient_worker.finish(records[index])
        assert (await call.read()).sequence == index
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_frame_with_the_key_of_an_earlier_one_is_answered_from_its_job(arno, patient_worker):
    first = await opened(arno)
    await first.write(frame(0, idempotency_key="k"))
    (record,) = await taken(patient_worker, 1)
    first.cancel()  # its caller leaves; the job stays, as a retry may come
    second = await opened(arno)
    await second.write(frame(7, idempotency_key="k"))
    await second.write(frame(8, idempotency_key="not a key"))
    patient_worker.finish(record)
    answered, refused = await rest(second)
    assert answered.response.job_id == record.id
    assert refused.error.metadata["field"] == "frame.idempotency_key"
    assert len(patient_worker.taken) == 1


async def test_policy_all_holds_back_frames_above_in_flight_max(arno, patient_worker):
    call = await opened(arno, config(in_flight_max=2))
    for sequence in range(5):
        await call.write(frame(sequence))
    await taken(patient_worker, 2)
    reader = asyncio.create_task(rest(call))
    for count in range(1, 6):
        records = await taken(patient_worker, count)
        assert len(patient_worker.taken) <= count + 1
        patient_worker.finish(records[count - 1])
    assert [response.sequence for response in await reader] == [0, 1, 2, 3, 4]


async def test_policy_latest_reports_every_frame_and_answers_the_newest(arno, patient_worker):
    policy = vision_pb2.STREAM_POLICY_LATEST
    call = await opened(arno, config(in_flight_max=1, policy=policy))
    await call.write(frame(0))
    (first,) = await taken(patient_worker, 1)
    for sequence in (1, 2, 3):
        await call.write(frame(sequence))
    reader = asyncio.create_task(rest(call))
    patient_worker.finish(first)

    async def all_ended():
        for record in patient_worker.taken:
            patient_worker.finish(record)
        return reader.done()

    await eventually_async(all_ended, what="the stream has ended")
    responses = reader.result()
    kinds = [response.WhichOneof("outcome") for response in responses]
    assert [response.sequence for response in responses] == [0, 1, 2, 3]
    assert (kinds[0], kinds[3]) == ("response", "response")
    assert all(
        response.dropped.policy == policy
        for response in responses
        if response.WhichOneof("outcome") == "dropped"
    )


async def test_policy_every_answers_each_nth_frame_and_reports_the_others(arno, worker):
    policy = vision_pb2.STREAM_POLICY_EVERY
    call = await opened(arno, config(policy=policy, every=3))
    for sequence in range(7):
        await call.write(frame(sequence))
    responses = await rest(call)
    kinds = [response.WhichOneof("outcome") for response in responses]
    assert [response.sequence for response in responses] == list(range(7))
    assert kinds == ["response" if sequence % 3 == 0 else "dropped" for sequence in range(7)]
    assert responses[1].dropped.policy == policy


async def test_fault_of_a_frame_does_not_end_the_stream(arno, worker):
    call = await opened(arno)
    await call.write(frame(1))
    await call.write(frame(2, content=b"not an image"))
    await call.write(frame(2))
    await call.write(frame(5))
    responses = await rest(call)
    kinds = [response.WhichOneof("outcome") for response in responses]
    assert kinds == ["response", "error", "error", "response"]
    assert responses[1].error.reason == "INVALID_IMAGE"
    assert responses[1].error.metadata["field"] == "frame.image.content"
    assert responses[2].error.metadata["field"] == "frame.sequence"


async def test_frame_that_is_not_answered_in_time_fails_alone(arno, patient_worker):
    call = await opened(arno, config(frame_timeout_ms=400))
    await call.write(frame(1))
    (response,) = await rest(call)
    assert response.error.reason == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        pytest.param([frame(1)], "config", id="a frame comes before the settings"),
        pytest.param([], "config", id="the stream ends before the settings"),
        pytest.param([vision_pb2.InferStreamRequest()], "config", id="the first message is empty"),
        pytest.param([config(), config()], "frame", id="settings come twice"),
        pytest.param([config(), vision_pb2.InferStreamRequest()], "frame", id="an empty message"),
        pytest.param([config(caption(text="x"))], "config.tasks[0].text", id="a bad task"),
        pytest.param([config(in_flight_max=65)], "config.in_flight_max", id="in_flight_max"),
        pytest.param([config(frame_timeout_ms=0)], "config.frame_timeout_ms", id="timeout"),
        pytest.param([config(every=0)], "config.every", id="every"),
        pytest.param([config(policy=9)], "config.policy", id="policy"),
        pytest.param([config(lane=9)], "config.lane", id="lane"),
    ],
)
async def test_broken_protocol_ends_the_stream_naming_the_field(arno, worker, messages, field):
    call = arno.vision.InferStream(iter(messages), timeout=20)
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        [response async for response in call]
    fault = fault_of(failed.value)
    assert (fault.code, fault.metadata["field"]) == ("INVALID_ARGUMENT", field)


async def test_frames_before_a_broken_message_are_answered(arno, worker):
    call = arno.vision.InferStream(iter([config(), frame(1), config()]), timeout=20)
    assert (await call.read()).response.results
    with pytest.raises(grpc.aio.AioRpcError):
        await call.read()


async def test_client_that_leaves_cancels_its_open_frames(arno, patient_worker):
    call = await opened(arno)
    await call.write(frame(1))
    await call.write(frame(2))
    records = await taken(patient_worker, 2)
    call.cancel()

    async def all_cancelled():
        return all(patient_worker.cancelled(record) for record in records)

    await eventually_async(all_cancelled, what="both frames are cancelled")


async def test_stream_above_the_limit_is_refused_and_others_go_on(
    gateway_settings, running_gateway
):
    async with running_gateway(gateway_settings(streams_max=1)) as arno:
        with StandInWorker(arno.settings):
            call = await opened(arno)
            await call.write(frame(1))
            assert (await call.read()).response.results
            # The refusal may come before the settings are written.
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await (await opened(arno)).read()
            assert fault_of(refused.value).reason == "OVERLOADED"
            assert (await arno.vision.Infer(infer_request(), timeout=20)).results
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF


async def test_drain_answers_open_frames_and_then_ends_the_stream(
    gateway_settings, running_gateway
):
    async with running_gateway(gateway_settings(drain_s=10)) as arno:
        with StandInWorker(arno.settings, answers=False) as worker:
            call = await opened(arno)
            await call.write(frame(1))
            (record,) = await taken(worker, 1)
            stop = asyncio.create_task(arno.gateway.stop())
            worker.finish(record)
            assert (await call.read()).response.job_id == record.id
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await call.read()
            assert fault_of(ended.value).reason == "DRAINING"
            await stop


async def test_large_frames_keep_their_order_too(arno, worker):
    call = await opened(arno)
    await call.write(frame(1, content=images.noise_png(1_200_000)))
    await call.write(frame(2))
    assert [response.sequence for response in await rest(call)] == [1, 2]
