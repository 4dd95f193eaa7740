"""Keys, tenants and quotas on a real gateway: every method, streams included."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import ExitStack

import grpc
import pytest
from arno.api.v1 import job_pb2, types_pb2, vision_pb2
from arno.errors import QuotaExceededError
from arno.gateway.access.api_key import new_key
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from support.eventually import eventually, eventually_async
from support.gateway_calls import config, fault_of, frame, infer_request
from support.stand_in_worker import StandInWorker

SERVICES = [
    module.DESCRIPTOR.services_by_name[name]
    for module, name in ((vision_pb2, "VisionService"), (job_pb2, "JobService"))
]
METHODS = [method for service in SERVICES for method in service.methods]
IMAGE = infer_request().image
TASKS = infer_request().tasks


@pytest.fixture
async def guarded(keys, gateway_settings, running_gateway):
    """A gateway that looks at the keys file with every call, and one key in it."""
    keys.key("nobody")
    settings = gateway_settings(keys_file=keys.path, keys_check_interval_s=1e-9)
    async with running_gateway(settings) as gateway:
        yield gateway


@pytest.fixture
def worker(guarded):
    with StandInWorker(guarded.settings) as worker:
        yield worker


@pytest.fixture
def patient_worker(guarded):
    with StandInWorker(guarded.settings, answers=False) as worker:
        yield worker


async def test_gateways_divide_quotas_by_their_number(keys, gateway_settings, running_gateway):
    keys.key("acme", jobs_in_flight=4)
    settings = gateway_settings(keys_file=keys.path)

    def granted(gateway) -> int:
        """Return how many jobs of the tenant this gateway holds before it refuses one."""
        with ExitStack() as jobs:
            for count in range(10):
                try:
                    jobs.enter_context(gateway.gateway._access.quotas.hold("acme", 1))
                except QuotaExceededError:
                    return count
        raise AssertionError("it refuses none")

    async def grants(gateway, count) -> None:
        async def does():
            return granted(gateway) == count

        await eventually_async(does)

    async with running_gateway(settings, "one") as one:
        assert granted(one) == 4
        async with running_gateway(settings, "two") as two:
            assert granted(two) == 2
            await grants(one, 2)
        # The one that has left is silent, and counts for five seconds more.
        await grants(one, 4)
    fixed = settings.model_copy(update={"quota_share": 0.25})
    async with running_gateway(fixed, "three") as three:
        assert granted(three) == 1


async def call(channel, method, request=None, **options):
    """Call a method of any kind, and read all that it answers."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    kind = f"{'stream' if method.client_streaming else 'unary'}_"
    kind += "stream" if method.server_streaming else "unary"
    answer = GetMessageClass(method.output_type).FromString
    caller = getattr(channel, kind)(path, bytes, answer)
    payload = b"" if request is None else request
    open_call = caller(iter([payload]) if method.client_streaming else payload, **options)
    if method.server_streaming:
        return [one async for one in open_call]
    return await open_call


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@pytest.mark.parametrize("metadata", [[], [("x-api-key", new_key().text)]], ids=["none", "foreign"])
async def test_no_method_answers_without_a_key_that_counts(guarded, method, metadata):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(guarded.channel, method, metadata=metadata, timeout=10)
    fault = fault_of(caught.value)
    assert (fault.code, fault.reason) == ("UNAUTHENTICATED", "UNAUTHENTICATED")
    assert fault.metadata["problem"] == ("unknown" if metadata else "missing")


async def test_message_of_an_unknown_caller_is_never_read(guarded):
    # Reading it would end the call with RESOURCE_EXHAUSTED: it is larger than any message may be.
    too_long = b"\0" * (guarded.settings.message_bytes_max + 1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(guarded.channel, METHODS[0], too_long, timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_job_carries_the_tenant_of_its_key(guarded, keys, worker):
    acme = keys.key("acme")
    answer = await guarded.vision.Infer(infer_request(), metadata=acme)
    assert answer.results[0].answer.text.text
    await guarded.jobs.SubmitJob(job_pb2.SubmitJobRequest(image=IMAGE, tasks=TASKS), metadata=acme)
    requests = stream_of(config(), frame(1))
    assert [one.sequence async for one in guarded.vision.InferStream(requests, metadata=acme)] == [
        1
    ]
    assert [record.tenant for record in worker.taken] == ["acme"] * 3


async def stream_of(*requests) -> AsyncIterator[vision_pb2.InferStreamRequest]:
    for request in requests:
        yield request


@pytest.mark.parametrize("known", [True, False], ids=["another tenant's", "nobody's"])
async def test_job_of_another_tenant_is_as_unknown_as_none(guarded, keys, patient_worker, known):
    acme, other = keys.key("acme"), keys.key("other")
    submitted = await guarded.jobs.SubmitJob(
        job_pb2.SubmitJobRequest(image=IMAGE, tasks=TASKS), metadata=acme
    )
    job_id = submitted.job.id if known else "0" * 32
    faults = []
    for method in ("GetJob", "WatchJob", "CancelJob"):
        described = SERVICES[1].methods_by_name[method]
        request = GetMessageClass(described.input_type)(job_id=job_id).SerializeToString()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(guarded.channel, described, request, metadata=other, timeout=10)
        faults.append(fault_of(caught.value))
    assert {(fault.code, fault.reason) for fault in faults} == {("NOT_FOUND", "JOB_NOT_FOUND")}
    assert {fault.message.replace(job_id, "ID") for fault in faults} == {
        "job_id: no job 'ID', or its time to live has passed"
    }
    # Deleting says nothing, as it does for a job that never was, and deletes nothing.
    await guarded.jobs.DeleteJob(job_pb2.DeleteJobRequest(job_id=job_id), metadata=other)
    own = job_pb2.GetJobRequest(job_id=submitted.job.id)
    job = (await guarded.jobs.GetJob(own, metadata=acme)).job
    assert not job.HasField("end_time")


async def test_idempotency_key_of_one_tenant_means_nothing_to_another(guarded, keys, worker):
    request = job_pb2.SubmitJobRequest(image=IMAGE, tasks=TASKS, idempotency_key="same")
    ids = [
        (await guarded.jobs.SubmitJob(request, metadata=header)).job.id
        for header in (keys.key("acme"), keys.key("other"))
    ]
    assert len(set(ids)) == 2


async def test_second_key_of_a_tenant_sees_the_jobs_of_the_first(guarded, keys, worker):
    first = keys.key("acme")
    request = job_pb2.SubmitJobRequest(image=IMAGE, tasks=TASKS)
    job_id = (await guarded.jobs.SubmitJob(request, metadata=first)).job.id
    second = keys.key("acme")
    found = await guarded.jobs.GetJob(job_pb2.GetJobRequest(job_id=job_id), metadata=second)
    assert found.job.id == job_id


async def test_jobs_above_a_quota_are_refused_by_name_and_others_are_served(
    guarded, keys, patient_worker
):
    acme, other = keys.key("acme", jobs_in_flight=2), keys.key("other")
    held = [guarded.vision.Infer(infer_request(), metadata=acme) for _ in range(2)]
    await taken(patient_worker, 2)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await guarded.vision.Infer(infer_request(), metadata=acme)
    fault = fault_of(caught.value)
    assert (fault.code, fault.reason) == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
    assert (fault.metadata["quota"], fault.metadata["limit"]) == ("jobs_in_flight", "2")
    assert fault.retry_delay_s == guarded.settings.overload_retry_s
    others = guarded.vision.Infer(infer_request(), metadata=other)
    await taken(patient_worker, 3)
    for record in list(patient_worker.taken):
        patient_worker.finish(record)
    await asyncio.gather(*held, others)


async def taken(worker: StandInWorker, count: int) -> None:
    await asyncio.to_thread(eventually, lambda: len(worker.taken) == count)


async def test_calls_above_a_rate_are_refused_before_their_message_is_read(guarded, keys):
    slow = keys.key("slow", requests_per_s=0.001)
    absent = job_pb2.GetJobRequest(job_id="absent")
    with pytest.raises(grpc.aio.AioRpcError, match="no job"):
        await guarded.jobs.GetJob(absent, metadata=slow)
    too_long = b"\0" * (guarded.settings.message_bytes_max + 1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(guarded.channel, METHODS[0], too_long, metadata=slow, timeout=20)
    fault = fault_of(caught.value)
    assert (fault.code, fault.metadata["quota"]) == ("RESOURCE_EXHAUSTED", "requests_per_s")
    assert 900 < fault.retry_delay_s <= 1000


async def test_frames_above_a_rate_fail_alone(guarded, keys, worker):
    # The call itself is the one request that the rate allows.
    header = keys.key("slow", requests_per_s=0.001)
    go_on = asyncio.Event()

    async def frames():
        yield config()
        yield frame(1)
        await go_on.wait()
        yield frame(2)

    stream = guarded.vision.InferStream(frames(), metadata=header)
    refused = (await stream.read()).error
    assert (refused.reason, refused.metadata["quota"]) == ("QUOTA_EXCEEDED", "requests_per_s")
    keys.key("slow")
    go_on.set()
    assert (await stream.read()).HasField("response")
    assert await stream.read() is grpc.aio.EOF


async def test_health_needs_no_key(guarded):
    health = health_pb2_grpc.HealthStub(guarded.channel)
    answer = await health.Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize(
    ("reflection", "shows_key", "code"),
    [
        ("open", False, "OK"),
        ("key", False, "UNAUTHENTICATED"),
        ("key", True, "OK"),
        ("off", True, "UNIMPLEMENTED"),
    ],
)
async def test_reflection_is_as_open_as_it_is_set(
    keys, gateway_settings, running_gateway, reflection, shows_key, code
):
    header = keys.key("acme")
    settings = gateway_settings(keys_file=keys.path, reflection=reflection)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async with running_gateway(settings) as gateway:
        stub = reflection_pb2_grpc.ServerReflectionStub(gateway.channel)
        asked = stub.ServerReflectionInfo(
            iter([request]), metadata=header if shows_key else [], timeout=10
        )
        found = "OK"
        try:
            names = [one.name async for one in asked for one in one.list_services_response.service]
        except grpc.aio.AioRpcError as error:
            found, names = error.code().name, []
    assert found == code
    assert ("arno.api.v1.VisionService" in names) == (code == "OK")


async def test_no_log_line_holds_a_key_and_each_names_its_tenant(guarded, keys, worker, caplog):
    header, foreign = keys.key("acme"), new_key()
    with caplog.at_level(logging.DEBUG):
        await guarded.vision.Infer(infer_request(), metadata=header)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await guarded.vision.Infer(infer_request(), metadata=[("x-api-key", foreign.text)])

        async def refusal_is_logged() -> bool:
            return "ended with UNAUTHENTICATED" in caplog.text

        # The caller may hear of it before the line is written.
        await eventually_async(refusal_is_logged)
    assert foreign.text not in str(caught.value)
    logged = " ".join(str(vars(record)) for record in caplog.records)
    assert header[0][1].split()[1] not in logged
    assert foreign.text not in logged
    ended = [vars(record) for record in caplog.records if "ended with" in record.getMessage()]
    assert {"acme"} < {record["tenant"] for record in ended}


def test_every_task_spec_goes_through_checks_that_no_key_skips():
    # The API has no field that names a model, a file or an address: nothing is fetched for anybody.
    fields = {field.name for message in messages() for field in message.fields}
    assert not fields & {"url", "uri", "path", "file", "image_url", "address", "host"}


def messages():
    for module in (types_pb2, vision_pb2, job_pb2):
        yield from module.DESCRIPTOR.message_types_by_name.values()
