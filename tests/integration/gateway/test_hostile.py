"""Clients that mean no good, over real sockets: bounded, answered by name, felt by nobody else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import grpc
import pytest
from arno.api.v1 import types_pb2, vision_pb2
from arno.bus.v1.records_pb2 import JobRecord
from arno.gateway.settings import GatewaySettings
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.eventually import eventually_async
from support.gateway_calls import fault_of, infer_request
from support.stand_in_worker import StandInWorker

pytestmark = pytest.mark.redis

INFER = "/arno.api.v1.VisionService/Infer"
STREAM = "/arno.api.v1.VisionService/InferStream"


@pytest.fixture
async def guarded(gateway_settings, running_gateway) -> AsyncIterator[Callable]:
    """Starts a gateway with small limits and a worker; gives the running gateway."""
    async with AsyncExitStack() as stack:

        async def start(**limits: object):
            settings: GatewaySettings = gateway_settings(**limits)
            gateway = await stack.enter_async_context(running_gateway(settings))
            stack.enter_context(StandInWorker(settings))
            return gateway

        yield start


async def silence() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


def stalled(channel: grpc.aio.Channel) -> grpc.aio.StreamUnaryCall:
    """A unary call whose message never comes."""
    return channel.stream_unary(INFER)(silence())


async def serves(gateway) -> None:
    await gateway.vision.Infer(infer_request(), timeout=20)


async def test_message_that_does_not_come_ends_its_call(guarded):
    gateway = await guarded(receive_timeout_s=0.2)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stalled(gateway.channel)
    fault = fault_of(refused.value)
    assert (fault.code, fault.metadata["field"]) == ("DEADLINE_EXCEEDED", "request")
    await serves(gateway)


async def test_callers_whose_turn_does_not_come_are_told_to_come_back(guarded):
    gateway = await guarded(receives_max=2, receive_timeout_s=0.5)
    held = [stalled(gateway.channel) for _ in range(12)]
    ends = await asyncio.gather(*held, return_exceptions=True)
    faults = Counter(fault_of(end).reason for end in ends)
    assert faults["OVERLOADED"] > 0
    assert faults.keys() == {"OVERLOADED", "DEADLINE_EXCEEDED"}
    assert all(fault_of(end).retry_delay_s for end in ends if fault_of(end).reason == "OVERLOADED")
    await serves(gateway)


async def test_caller_that_leaves_gives_its_turn_to_the_next(guarded):
    gateway = await guarded(receives_max=1, receive_timeout_s=30)
    slow = stalled(gateway.channel)
    await slow.wait_for_connection()
    waiting = asyncio.ensure_future(gateway.vision.Infer(infer_request(), timeout=20))
    await asyncio.sleep(0)
    slow.cancel()
    await waiting


async def test_stream_without_settings_and_stream_without_frames_are_ended(guarded):
    gateway = await guarded(receive_timeout_s=0.2, stream_idle_s=0.2)
    task = types_pb2.TaskSpec(task=types_pb2.TASK_CAPTION)
    config = vision_pb2.InferStreamRequest(config=vision_pb2.StreamConfig(tasks=[task]))

    async def settings_only() -> AsyncIterator[bytes]:
        yield config.SerializeToString()
        await asyncio.Event().wait()

    for messages, field in ((silence(), "config"), (settings_only(), "frame")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            async for _ in gateway.channel.stream_stream(STREAM)(messages):
                pass
        fault = fault_of(refused.value)
        assert (fault.code, fault.metadata["field"]) == ("DEADLINE_EXCEEDED", field)


async def test_streams_beyond_every_limit_are_refused_and_others_are_served(guarded):
    gateway = await guarded(streams_max=8, calls_max=256, receive_timeout_s=10)
    target = f"127.0.0.1:{gateway.gateway.port}"
    async with AsyncExitStack() as stack:
        calls = []
        for _ in range(4):
            channel = await stack.enter_async_context(
                grpc.aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])
            )
            calls += [channel.stream_stream(STREAM)(silence()) for _ in range(50)]
        ended = []

        async def enough_ended() -> bool:
            ended[:] = [call for call in calls if call.done()]
            return len(ended) >= 192

        await eventually_async(enough_ended)
        assert {await call.details() for call in ended} == {
            "the gateway is full: open streams would be 9; allowed: 8 (streams_max)"
        }
        await serves(gateway)
        for call in calls:
            call.cancel()


async def test_calls_beyond_the_limit_are_told_of_it_and_health_still_answers(guarded):
    gateway = await guarded(calls_max=3, receive_timeout_s=30)
    held = [stalled(gateway.channel) for _ in range(3)]

    async def all_places_taken() -> bool:
        return gateway.gateway.open_call_count() == 3

    await eventually_async(all_places_taken)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await gateway.vision.Infer(infer_request(), timeout=20)
    fault = fault_of(refused.value)
    assert (fault.code, fault.reason) == ("UNAVAILABLE", "OVERLOADED")
    assert fault.message == "the gateway is full: open calls would be 4; allowed: 3 (calls_max)"
    assert (fault.metadata["limit"], fault.metadata["wanted"]) == ("3", "4")
    assert fault.retry_delay_s
    asked = health_pb2.HealthCheckRequest()
    health = await health_pb2_grpc.HealthStub(gateway.channel).Check(asked, timeout=20)
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    held[0].cancel()

    async def one_place_free() -> bool:
        return gateway.gateway.open_call_count() < 3

    await eventually_async(one_place_free)
    await serves(gateway)


async def test_large_metadata_is_refused_before_anything_else(guarded):
    gateway = await guarded(metadata_bytes_max=4096)
    bomb = [("x-bomb", "x" * 20_000)]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await gateway.vision.Infer(infer_request(), metadata=bomb, timeout=20)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await serves(gateway)


async def test_unknown_fields_are_dropped_before_the_record(guarded, monkeypatch):
    gateway = await guarded()
    written: list[bytes] = []
    serialize = JobRecord.SerializeToString
    publish = gateway.publisher.publish

    async def spy(record, **options):
        written.append(record.value)
        await publish(record, **options)

    monkeypatch.setattr(gateway.publisher, "publish", spy)
    task = types_pb2.TaskSpec(task=types_pb2.TASK_CAPTION).SerializeToString()
    unknown = b"\xfa\x3f\xa0\x8d\x06" + bytes(100_000)  # field 1023, 100,000 bytes
    spec = types_pb2.TaskSpec.FromString(task + unknown)
    await gateway.vision.Infer(infer_request(spec), timeout=20)
    assert len(written[0]) < 5000
    assert serialize(JobRecord.FromString(written[0])) == written[0]


async def test_message_above_the_limit_is_refused_unread(guarded):
    gateway = await guarded(image_bytes_max=1000)
    content = bytes(1000 + 4 * 1024 * 1024 + 100)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await gateway.vision.Infer(infer_request(content=content), timeout=20)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await serves(gateway)


async def test_two_thousand_streams_at_once_are_served_or_told_of_the_limit(guarded):
    gateway = await guarded(streams_max=256, receive_timeout_s=60)
    target = f"127.0.0.1:{gateway.gateway.port}"
    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(
                grpc.aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])
            )
            for _ in range(4)
        ]
        calls = [channels[n % 4].stream_stream(STREAM)(silence()) for n in range(2000)]
        ended = []

        async def all_others_ended() -> bool:
            ended[:] = [call for call in calls if call.done()]
            return len(ended) == 2000 - 256

        await eventually_async(all_others_ended, timeout_s=60)
        details = Counter([await call.details() for call in ended])
        assert details.keys() == {
            "the gateway is full: open streams would be 257; allowed: 256 (streams_max)"
        }
        assert gateway.gateway.open_call_count() == 256
        await serves(gateway)
        for call in calls:
            call.cancel()

    async def none_open() -> bool:
        return gateway.gateway.open_call_count() == 0

    await eventually_async(none_open)
