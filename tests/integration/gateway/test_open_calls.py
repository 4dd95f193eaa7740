"""One tenant that leaves calls and streams open takes no place of another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
from arno.api.v1 import job_pb2, vision_pb2
from support.eventually import eventually_async
from support.gateway_calls import config, fault_of, frame, infer_request

IMAGE = infer_request().image
TASKS = infer_request().tasks


async def test_watched_jobs_of_one_tenant_leave_places_for_another(
    keys, gateway_settings, running_gateway
):
    hostile, other = keys.key("hostile"), keys.key("other")
    settings = gateway_settings(keys_file=keys.path, calls_max=8)
    async with running_gateway(settings) as gateway:
        submit = job_pb2.SubmitJobRequest(image=IMAGE, tasks=TASKS)
        job_id = (await gateway.jobs.SubmitJob(submit, metadata=hostile)).job.id
        request = job_pb2.WatchJobRequest(job_id=job_id)
        watches = [gateway.jobs.WatchJob(request, metadata=hostile) for _ in range(8)]
        opened = await asyncio.gather(*(first(watch) for watch in watches))
        faults = [fault for fault in opened if fault is not None]
        assert len(faults) == 4
        for fault in faults:
            assert (fault.code, fault.reason) == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
            assert (fault.metadata["quota"], fault.metadata["limit"]) == ("calls_open", "4")
            assert fault.metadata["wanted"] == "5"
            assert fault.retry_delay_s == settings.overload_retry_s
        submitted = await gateway.jobs.SubmitJob(submit, metadata=other)
        assert submitted.job.id

        for watch in watches:
            watch.cancel()

        async def open_again():
            watch = gateway.jobs.WatchJob(request, metadata=hostile)
            found = await first(watch)
            watch.cancel()
            return found is None

        # What was held is given back.
        await eventually_async(open_again)


async def test_idle_streams_of_one_tenant_leave_places_for_another(
    keys, gateway_settings, running_gateway
):
    hostile, other = keys.key("hostile"), keys.key("other", streams_open=1)
    settings = gateway_settings(keys_file=keys.path, streams_max=4)
    async with running_gateway(settings) as gateway:
        hold = asyncio.Event()
        streams = [gateway.vision.InferStream(idle(hold), metadata=hostile) for _ in range(2)]
        assert await asyncio.gather(*(first(stream) for stream in streams)) == [None, None]
        refused = await first(gateway.vision.InferStream(silent(hold), metadata=hostile))
        assert (refused.metadata["quota"], refused.metadata["limit"]) == ("streams_open", "2")
        stream = gateway.vision.InferStream(idle(hold), metadata=other)
        assert await first(stream) is None
        refused = await first(gateway.vision.InferStream(silent(hold), metadata=other))
        assert (refused.metadata["limit"], refused.metadata["wanted"]) == ("1", "2")
        hold.set()


async def test_without_keys_all_callers_share_the_limits_of_the_gateway(
    gateway_settings, running_gateway
):
    count = 8
    async with running_gateway(gateway_settings(calls_max=count, streams_max=count)) as gateway:
        hold = asyncio.Event()
        streams = [gateway.vision.InferStream(idle(hold)) for _ in range(count)]
        assert await asyncio.gather(*(first(stream) for stream in streams)) == [None] * count
        hold.set()


async def first(call):
    """Return None once a call is open, or the error that it ended with."""
    try:
        await call.read()
    except grpc.aio.AioRpcError as error:
        return fault_of(error)
    return None


async def idle(hold: asyncio.Event) -> AsyncIterator[vision_pb2.InferStreamRequest]:
    yield config()
    # It is answered at once, without a worker, with its own error: the stream is open.
    yield frame(1, b"no image")
    await hold.wait()


async def silent(hold: asyncio.Event) -> AsyncIterator[vision_pb2.InferStreamRequest]:
    # grpc.aio makes INTERNAL of a refusal that crosses a message (docs/errors.md).
    await hold.wait()
    yield config()
