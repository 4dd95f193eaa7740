"""What calls leave behind goes with them, without a collection: it holds images."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import suppress

import grpc
import pytest
from arno.api.v1 import vision_pb2
from support import images
from support.eventually import eventually_async
from support.gateway_calls import config, frame, infer_request

pytestmark = pytest.mark.redis


@pytest.fixture
def _no_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive(kind: type) -> int:
    # Not by isinstance, which asks the thing: some of torch's answer with a warning.
    return sum(type(thing) is kind for thing in gc.get_objects())


@pytest.mark.usefixtures("_no_collections")
@pytest.mark.parametrize("content", [b"no image", images.png()], ids=["refused", "answered"])
async def test_calls_leave_no_message_to_the_collector(arno, worker, content):
    # As bytes, so that the messages that are counted are the gateway's.
    send = arno.channel.unary_unary("/arno.api.v1.VisionService/Infer")
    request = infer_request(content=content).SerializeToString()
    before = alive(vision_pb2.InferRequest)
    for _ in range(20):
        with suppress(grpc.aio.AioRpcError):
            await send(request, timeout=20)

    async def all_gone():
        return alive(vision_pb2.InferRequest) == before

    await eventually_async(all_gone, timeout_s=5, what="no message is left")


@pytest.mark.usefixtures("_no_collections")
async def test_stream_that_sends_nothing_holds_no_frame(arno, worker):
    before = alive(vision_pb2.InferStreamRequest)
    call = arno.channel.stream_stream("/arno.api.v1.VisionService/InferStream")(timeout=60)
    await call.write(config().SerializeToString())
    for sequence in range(8):
        await call.write(frame(sequence).SerializeToString())
        assert vision_pb2.InferStreamResponse.FromString(await call.read()).response.results

    async def none_left() -> bool:
        return alive(vision_pb2.InferStreamRequest) == before

    await eventually_async(none_left, timeout_s=5, what="no frame is left")
    call.cancel()
