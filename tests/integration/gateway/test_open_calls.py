"""One tenant that leaves calls and streams open takes no place of another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from arno.api.v1 import job_pb2, job_pb2_grpc, types_pb2, vision_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from support.eventually import eventually_async
from support.gateway_calls import config, fault_of, frame, infer_request
from support.tcp_proxy import TcpProxy

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


async def test_calls_of_one_tenant_that_fill_the_event_loop_leave_time_for_another(
    keys, gateway_settings, running_gateway
):
    hostile, other = keys.key("hostile"), keys.key("other")
    # No call fits into so small a part.
    settings = gateway_settings(keys_file=keys.path, tenant_loop_share=1e-4, receive_timeout_s=0.5)
    async with running_gateway(settings) as gateway:
        ask = job_pb2.GetJobRequest(job_id="absent")

        async def flood_is_refused() -> bool:
            calls = [gateway.jobs.GetJob(ask, metadata=hostile) for _ in range(20)]
            calls.append(gateway.jobs.GetJob(ask, metadata=other))
            *faults, others = await asyncio.gather(*map(ended, calls))
            assert others.reason == "JOB_NOT_FOUND"
            refused = [fault for fault in faults if fault.reason == "OVERLOADED"]
            assert all(each.metadata["budget"] == "time of the event loop" for each in refused)
            return bool(refused)

        # What a call costs is known after a few of them.
        await eventually_async(flood_is_refused)


async def test_large_images_of_one_tenant_rest_on_their_way_to_the_store_while_another_calls(
    keys, gateway_settings, running_gateway
):
    hostile, other = keys.key("hostile"), keys.key("other")
    # After the first parts, the next may be sent in a minute.
    settings = gateway_settings(keys_file=keys.path, tenant_upload_share=1e-4)
    async with running_gateway(settings) as gateway:
        large = types_pb2.Image(content=IMAGE.content + bytes(4 * 1024 * 1024))
        request = job_pb2.SubmitJobRequest(image=large, tasks=TASKS)
        # Alone it has all of the time.
        assert (await gateway.jobs.SubmitJob(request, metadata=hostile, timeout=20)).job.id
        ask = job_pb2.GetJobRequest(job_id="absent")
        large.content += b"another"
        assert (await ended(gateway.jobs.GetJob(ask, metadata=other))).reason == "JOB_NOT_FOUND"
        again = job_pb2.SubmitJobRequest(image=large, tasks=TASKS)
        rests = gateway.jobs.SubmitJob(again, metadata=hostile, timeout=0.7)
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await rests
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_stalled_messages_of_one_tenant_leave_places_for_another(
    keys, gateway_settings, running_gateway
):
    hostile, other = keys.key("hostile"), keys.key("other")
    settings = gateway_settings(keys_file=keys.path, receives_max=2, receive_timeout_s=30)
    async with running_gateway(settings) as gateway:
        hold = asyncio.Event()
        submit = gateway.channel.stream_unary("/arno.api.v1.JobService/SubmitJob")
        stalled = [submit(never(hold), metadata=hostile) for _ in range(8)]
        for call in stalled:
            await call.wait_for_connection()
        request = job_pb2.SubmitJobRequest(image=IMAGE, tasks=TASKS)
        assert (await gateway.jobs.SubmitJob(request, metadata=other, timeout=20)).job.id
        for call in stalled:
            call.cancel()


async def test_images_of_one_tenant_leave_a_part_of_the_budgets_for_another(
    keys, gateway_settings, running_gateway
):
    hostile, other = keys.key("hostile"), keys.key("other")
    settings = gateway_settings(keys_file=keys.path, jobs_in_flight_max=4)
    async with running_gateway(settings) as gateway:
        # There is no worker: each waits until its caller leaves.
        asked = [gateway.vision.Infer(infer_request(), metadata=hostile) for _ in range(3)]
        done, waiting = await asyncio.wait(
            [asyncio.ensure_future(ended(call)) for call in asked],
            return_when=asyncio.FIRST_COMPLETED,
        )
        [refused] = [task.result() for task in done]
        assert (refused.metadata["quota"], refused.metadata["limit"]) == ("jobs_in_flight", "2")
        request = job_pb2.SubmitJobRequest(
            image=IMAGE, tasks=TASKS, lane=types_pb2.LANE_INTERACTIVE
        )
        assert (await gateway.jobs.SubmitJob(request, metadata=other)).job.id
        for call in asked:
            call.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


@pytest.mark.parametrize("service", ["health", "reflection"])
async def test_health_and_reflection_streams_are_bounded(
    gateway_settings, running_gateway, service
):
    settings = gateway_settings(health_streams_max=6)
    async with running_gateway(settings) as gateway:
        hold = asyncio.Event()

        def open_one():
            if service == "health":
                stub = health_pb2_grpc.HealthStub(gateway.channel)
                return stub.Watch(health_pb2.HealthCheckRequest())
            stub = reflection_pb2_grpc.ServerReflectionStub(gateway.channel)
            return stub.ServerReflectionInfo(asked_once(hold))

        watches = [open_one() for _ in range(5)]
        opened = await asyncio.gather(*(first(watch) for watch in watches))
        faults = [fault for fault in opened if fault is not None]
        assert len(faults) == 2
        for fault in faults:
            assert (fault.code, fault.reason) == ("UNAVAILABLE", "OVERLOADED")
            assert fault.message.endswith("would be 4; allowed: 3 (health_streams_max)")
        # Probes that end at once are answered all the same.
        check = health_pb2_grpc.HealthStub(gateway.channel).Check(health_pb2.HealthCheckRequest())
        assert (await check).status == health_pb2.HealthCheckResponse.SERVING
        hold.set()
        for watch in watches:
            watch.cancel()

        async def open_again():
            watch = open_one()
            found = await first(watch)
            watch.cancel()
            return found is None

        await eventually_async(open_again)


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


async def ended(call):
    """Return the error that a call ends with."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return fault_of(error)
    return None


async def asked_once(hold: asyncio.Event):
    yield reflection_pb2.ServerReflectionRequest(list_services="")
    await hold.wait()


async def never(hold: asyncio.Event) -> AsyncIterator[bytes]:
    await hold.wait()
    yield b""


async def silent(hold: asyncio.Event) -> AsyncIterator[vision_pb2.InferStreamRequest]:
    # grpc.aio makes INTERNAL of a refusal that crosses a message (docs/errors.md).
    await hold.wait()
    yield config()


async def test_call_of_a_client_that_has_vanished_is_ended(gateway_settings, running_gateway):
    settings = gateway_settings(keepalive_time_s=0.3, keepalive_timeout_s=0.3)
    async with (
        running_gateway(settings) as gateway,
        TcpProxy(gateway.gateway.port) as network,
        grpc.aio.insecure_channel(f"127.0.0.1:{network.port}") as channel,
    ):
        submit = job_pb2.SubmitJobRequest(image=IMAGE, tasks=TASKS)
        job_id = (await gateway.jobs.SubmitJob(submit)).job.id
        watch = job_pb2_grpc.JobServiceStub(channel).WatchJob(
            job_pb2.WatchJobRequest(job_id=job_id)
        )
        assert await first(watch) is None
        network.mute()

        async def ended() -> bool:
            return gateway.gateway.open_call_count() == 0

        await eventually_async(ended, timeout_s=20)
