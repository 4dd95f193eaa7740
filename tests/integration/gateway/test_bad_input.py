"""The bad input table through gRPC: refused naming field, limit and what was sent, or accepted."""

from __future__ import annotations

import asyncio
import zlib

import grpc
import pytest
from arno.api.v1 import types_pb2, vision_pb2
from support import images
from support.builders import wire_box
from support.gateway_calls import caption, fault_of, infer_request

GROUND = types_pb2.TASK_CAPTION_TO_PHRASE_GROUNDING
DESCRIBE = types_pb2.TASK_REGION_TO_DESCRIPTION


def one(**fields):
    return infer_request(types_pb2.TaskSpec(**fields))


REFUSED = {
    "not an image": (
        infer_request(content=b"hello, world"),
        ("INVALID_IMAGE", "image.content"),
    ),
    "no bytes at all": (infer_request(content=b""), ("INVALID_IMAGE", "image.content")),
    "a header cut off": (
        infer_request(content=images.jpeg()[:30]),
        ("INVALID_IMAGE", "image.content"),
    ),
    "a bomb of 30,000 x 30,000 pixels": (
        infer_request(content=images.png_bomb()),
        ("LIMIT_EXCEEDED", "image.content"),
    ),
    "2,100 scans of 700 x 700 pixels": (
        infer_request(content=images.scan_bomb(700, 2100)),
        ("LIMIT_EXCEEDED", "image.content"),
    ),
    "an image above the limit": (
        infer_request(content=images.png() + bytes(16 * 1024 * 1024)),
        ("LIMIT_EXCEEDED", "image.content"),
    ),
    "text where none is taken": (
        one(task=types_pb2.TASK_OD, text="cats"),
        ("INVALID_FIELD", "tasks[0].text"),
    ),
    "no text where some is needed": (one(task=GROUND), ("INVALID_FIELD", "tasks[0].text")),
    "text of 100 kB": (
        one(task=GROUND, text="x" * 100_000),
        ("LIMIT_EXCEEDED", "tasks[0].text"),
    ),
    "no region where one is needed": (one(task=DESCRIBE), ("INVALID_FIELD", "tasks[0].region")),
    "a region outside the image": (
        one(task=DESCRIBE, region=wire_box(0, 0, 65, 48)),
        ("INVALID_FIELD", "tasks[0].region"),
    ),
    "an inverted region": (
        one(task=DESCRIBE, region=wire_box(40, 0, 10, 48)),
        ("INVALID_FIELD", "tasks[0].region"),
    ),
    "a task that does not exist": (one(task=99), ("INVALID_FIELD", "tasks[0].task")),
    "no task": (one(text="x"), ("INVALID_FIELD", "tasks[0].task")),
    "65 tasks": (infer_request(*[caption()] * 65), ("LIMIT_EXCEEDED", "tasks")),
    "a lane that does not exist": (infer_request(lane=7), ("INVALID_FIELD", "lane")),
    "a strange key": (infer_request(idempotency_key="a b"), ("INVALID_FIELD", "idempotency_key")),
}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [pytest.param(request, fault, id=name) for name, (request, fault) in REFUSED.items()],
)
async def test_bad_input_is_refused_by_name_and_its_neighbour_is_answered(
    arno, worker, request_, expected
):
    neighbour = asyncio.ensure_future(arno.vision.Infer(infer_request(), timeout=20))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await arno.vision.Infer(request_, timeout=20)
    fault = fault_of(refused.value)
    assert fault.code == "INVALID_ARGUMENT"
    assert (fault.reason, fault.metadata["field"]) == expected
    assert fault.retry_delay_s is None
    assert fault.metadata["field"] in fault.message
    assert fault.metadata["problem"] in fault.message
    assert (await neighbour).results[0].HasField("answer")
    assert len(worker.taken) == 1


ACCEPTED = {
    "an animated GIF": (images.animated_gif(), 64, 48),
    "16 bits a channel": (images.sixteen_bit_png(), 64, 48),
    "CMYK": (images.cmyk_jpeg(), 64, 48),
    "a palette with transparency": (images.palette_alpha_png(), 64, 48),
    "turned by EXIF, measured as a viewer shows it": (images.rotated_jpeg(), 48, 64),
    "cut off below its header, for the worker to find": (images.png()[:-20], 64, 48),
}


@pytest.mark.parametrize(
    ("content", "width_px", "height_px"),
    [pytest.param(*facts, id=name) for name, facts in ACCEPTED.items()],
)
async def test_unusual_image_is_accepted_with_its_shown_size(
    arno, worker, content, width_px, height_px
):
    response = await arno.vision.Infer(infer_request(content=content), timeout=20)
    assert (response.image.width_px, response.image.height_px) == (width_px, height_px)


async def test_region_of_a_turned_image_is_measured_as_a_viewer_shows_it(arno, worker):
    spec = types_pb2.TaskSpec(task=DESCRIBE, region=wire_box(0, 0, 48, 64))
    response = await arno.vision.Infer(
        infer_request(spec, content=images.rotated_jpeg()), timeout=20
    )
    assert response.results[0].HasField("answer")


@pytest.mark.parametrize("method", ["Infer", "InferStream"])
async def test_bytes_that_are_no_message_are_invalid_argument(arno, method):
    path = f"/arno.api.v1.VisionService/{method}"
    garbage = b"\x0a\xff\xff\xff\xff\x7f" + zlib.compress(b"x")
    if method == "Infer":
        answer = arno.channel.unary_unary(path)(garbage, timeout=20)
    else:
        answer = arno.channel.stream_stream(path)(iter([garbage]), timeout=20).read()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await answer
    fault = fault_of(refused.value)
    assert (fault.code, fault.metadata["field"]) == ("INVALID_ARGUMENT", "request")


async def test_message_far_above_the_image_limit_is_refused_before_it_is_read(arno):
    content = bytes(arno.settings.message_bytes_max + 1)
    request = vision_pb2.InferRequest(image=types_pb2.Image(content=content), tasks=[caption()])
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await arno.vision.Infer(request, timeout=20)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
