"""Both clients against a gRPC server on a loopback port, that answers what a test tells it to."""

import asyncio
import re
import socket
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from arno.api.v1 import job_pb2, job_pb2_grpc, vision_pb2, vision_pb2_grpc
from arno.client import AsyncClient, Client, JobState
from arno.errors import (
    ConfigurationError,
    DeadlineExceededError,
    InvalidImageError,
    LimitExceededError,
    OverloadedError,
    UnavailableError,
    UnknownJobError,
)
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from support.answers import detection, region, response

ANSWER = response(detection(region("cat", 1, 2, 3, 4)))


def refusal(code, reason, message, **metadata):
    status = Status(code=code, message=message)
    for detail in (ErrorInfo(reason=reason, domain="arno", metadata=metadata), RetryInfo()):
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return rpc_status.to_status(status)


class Gateway(vision_pb2_grpc.VisionServiceServicer, job_pb2_grpc.JobServiceServicer):
    def __init__(self):
        self.refusals = []
        self.leaves = []
        self.requests = []

    def Infer(self, request, context):
        self.requests.append(request)
        if self.refusals:
            context.abort_with_status(self.refusals.pop(0))
        return ANSWER

    def InferStream(self, request_iterator, context):
        for request in request_iterator:
            if request.HasField("frame"):
                yield vision_pb2.InferStreamResponse(
                    sequence=request.frame.sequence, response=ANSWER
                )

    def SubmitJob(self, request, context):
        self.requests.append(request)
        return job_pb2.SubmitJobResponse(job=job_pb2.Job(id="j", state=job_pb2.JOB_STATE_QUEUED))

    def GetJob(self, request, context):
        context.abort_with_status(refusal(5, "JOB_NOT_FOUND", "no job", job_id=request.job_id))

    def WatchJob(self, request, context):
        for state in (job_pb2.JOB_STATE_QUEUED, job_pb2.JOB_STATE_SUCCEEDED):
            yield job_pb2.WatchJobResponse(job=job_pb2.Job(id=request.job_id, state=state))
            # Not after the end, when the client has left and the next test step may have begun.
            if self.leaves and state == job_pb2.JOB_STATE_QUEUED:
                context.abort_with_status(self.leaves.pop(0))

    def CancelJob(self, request, context):
        job = job_pb2.Job(id=request.job_id, state=job_pb2.JOB_STATE_CANCELLED)
        return job_pb2.CancelJobResponse(job=job)

    def DeleteJob(self, request, context):
        return job_pb2.DeleteJobResponse()


@pytest.fixture
def gateway():
    servicer = Gateway()
    server = grpc.server(ThreadPoolExecutor(4))
    vision_pb2_grpc.add_VisionServiceServicer_to_server(servicer, server)
    job_pb2_grpc.add_JobServiceServicer_to_server(servicer, server)
    servicer.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield servicer
    server.stop(None).wait()


@pytest.fixture
def client(gateway):
    with Client(gateway.address) as client:
        yield client


def test_answer_is_typed(client, gateway):
    assert client.infer(b"image", "OD")["OD"].regions[0].label == "cat"
    assert gateway.requests[0].image.content == b"image"


def test_refused_field_comes_back_as_its_class(client, gateway):
    gateway.refusals = [refusal(3, "INVALID_IMAGE", "image: empty", field="image")]
    with pytest.raises(InvalidImageError, match="image: empty") as caught:
        client.infer(b"", "OD")
    assert caught.value.field == "image"


def test_request_that_the_server_does_not_even_read_is_told_with_its_limit(gateway):
    server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.max_receive_message_length", 100)])
    vision_pb2_grpc.add_VisionServiceServicer_to_server(gateway, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with (
        Client(f"127.0.0.1:{port}") as client,
        pytest.raises(LimitExceededError, match="allowed: 100 bytes; sent: 210 bytes") as caught,
    ):
        client.infer(b"x" * 200, "OD")
    assert (caught.value.reason, caught.value.field) == ("LIMIT_EXCEEDED", "request")
    server.stop(None).wait()


def test_overload_is_tried_again_until_the_server_takes_it(client, gateway):
    gateway.refusals = [refusal(14, "OVERLOADED", "full")] * 2
    assert client.infer(b"image", "OD").ok
    assert len(gateway.requests) == 3


async def test_server_that_stays_full_or_away_is_told(gateway):
    gateway.refusals = [refusal(14, "OVERLOADED", "full")] * 9
    # At once: each is tried again for about six seconds.
    async with AsyncClient(gateway.address) as client, AsyncClient("127.0.0.1:9") as other:
        assert not await other.ready(timeout_s=1)
        calls = (one.infer(b"image", "OD") for one in (client, other))
        full, away = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(full, OverloadedError)
    assert len(gateway.requests) == 5
    assert isinstance(away, UnavailableError)
    assert re.search(r"no Arno gateway answers at 127\.0\.0\.1:9.*arno up", away.message)


def test_only_unavailable_is_tried_again(client, gateway):
    gateway.refusals = [refusal(13, "ENGINE_FAILED", "broke")]
    with pytest.raises(Exception, match="broke"):
        client.infer(b"image", "OD")
    assert len(gateway.requests) == 1


@pytest.mark.parametrize("address", ["", "http://127.0.0.1:9", "\udcff:9"])
def test_address_of_another_form_is_refused_at_once(address):
    with pytest.raises(ConfigurationError, match="address: must be HOST:PORT"):
        Client(address)


def test_timeout_is_told():
    # A listener that never speaks HTTP/2.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with Client(address) as client, pytest.raises((DeadlineExceededError, UnavailableError)):
            client.infer(b"image", "OD", timeout_s=0.3)


def test_job_methods_speak_to_the_job_service(client, gateway):
    job = client.submit(b"image", "OD", time_to_live_s=9)
    assert job.state is JobState.QUEUED
    assert gateway.requests[0].idempotency_key
    assert gateway.requests[0].time_to_live.seconds == 9
    assert [seen.state for seen in client.watch("j")] == [JobState.QUEUED, JobState.SUCCEEDED]
    assert client.wait("j").ended
    assert client.cancel("j").state is JobState.CANCELLED
    client.delete("j")
    with pytest.raises(UnknownJobError, match="no job") as caught:
        client.get("absent")
    assert caught.value.metadata["job_id"] == "absent"


def test_wait_goes_on_with_another_gateway_where_one_leaves(client, gateway):
    gateway.leaves = [refusal(14, "DRAINING", "this gateway is shutting down")] * 2
    assert client.wait("j", timeout_s=20).state is JobState.SUCCEEDED
    gateway.leaves = [refusal(14, "DRAINING", "this gateway is shutting down")]
    with pytest.raises(UnavailableError, match="shutting down"):
        list(client.watch("j"))


def test_frames_come_back_in_order(client):
    results = client.infer_stream((b"image" for _ in range(20)), "OD")
    assert [frame.sequence for frame in results] == list(range(20))


def test_frame_source_that_breaks_ends_the_stream_with_its_own_error(client):
    def frames():
        yield b"one"
        yield b"two"
        raise RuntimeError("the camera fell down")

    results = client.infer_stream(frames(), "OD")
    assert [next(results).sequence, next(results).sequence] == [0, 1]
    with pytest.raises(RuntimeError, match="the camera fell down"):
        next(results)


def test_stream_that_nobody_reads_further_is_cancelled(client):
    for frame in client.infer_stream((b"image" for _ in range(10_000)), "OD"):
        if frame.sequence == 2:
            break
    assert client.infer(b"image", "OD").ok


async def test_asyncio_client_has_the_same_methods(gateway):
    names = {name for name in vars(Client) if not name.startswith("_")}
    assert names == {name for name in vars(AsyncClient) if not name.startswith("_")}
    async with AsyncClient(gateway.address) as client:
        assert (await client.infer(b"image", "OD")).ok
        job = await client.submit(b"image", "OD")
        assert (await client.wait(job.id)).ended
        assert [seen.ended async for seen in client.watch(job.id)] == [False, True]
        assert (await client.cancel(job.id)).state is JobState.CANCELLED
        await client.delete(job.id)
        with pytest.raises(UnknownJobError):
            await client.get("absent")
        assert not await client.ready(timeout_s=1)


async def test_asyncio_stream_takes_both_kinds_of_iterables(gateway):
    async def frames():
        for _ in range(3):
            yield b"image"

    async with AsyncClient(gateway.address) as client:
        for source in (frames(), [b"image"] * 3):
            seen = [frame.sequence async for frame in client.infer_stream(source, "OD")]
            assert seen == [0, 1, 2]


async def test_asyncio_calls_raise_the_same_errors(gateway):
    gateway.refusals = [refusal(3, "INVALID_IMAGE", "image: empty", field="image")]
    async with AsyncClient(gateway.address) as client:
        with pytest.raises(InvalidImageError):
            await client.infer(b"", "OD")
