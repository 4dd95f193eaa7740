"""Calls that are open when their key is revoked, expires or is removed end soon, of any kind."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from arno.api.v1 import job_pb2
from support.eventually import eventually_async
from support.gateway_calls import config, fault_of, frame, infer_request
from support.stand_in_worker import StandInWorker

INTERVAL_S = 0.2


@pytest.fixture
def headers(keys):
    """Made before the gateway starts: later keys count after an interval only."""
    return {tenant: keys.key(tenant) for tenant in ("acme", "other")}


@pytest.fixture
async def guarded(keys, headers, gateway_settings, running_gateway):
    settings = gateway_settings(keys_file=keys.path, keys_check_interval_s=INTERVAL_S)
    async with running_gateway(settings) as gateway:
        yield gateway


@pytest.fixture
def patient_worker(guarded):
    with StandInWorker(guarded.settings, answers=False) as worker:
        yield worker


def revoke(keys):
    keys.end_key_of("acme", revoked_at=datetime.now(UTC))


def expire(keys):
    keys.end_key_of("acme", expires_at=datetime.now(UTC) + timedelta(seconds=0.1))


def remove(keys):
    keys.revoke_all()


async def until_refused(call):
    """Read a call to its end; return the error that it ended with."""
    try:
        while await call.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        return fault_of(error)
    return pytest.fail("the call ended without an error")


@pytest.mark.parametrize(
    ("end", "problem"), [(revoke, "revoked"), (expire, "expired"), (remove, "unknown")]
)
async def test_watch_and_idle_stream_end_with_their_key_and_others_go_on(
    guarded, keys, headers, patient_worker, end, problem
):
    hold = asyncio.Event()

    async def idle():
        yield config()
        yield frame(1, b"no image")
        await hold.wait()

    opened = []
    for header in headers.values():
        submit = job_pb2.SubmitJobRequest(image=infer_request().image, tasks=infer_request().tasks)
        job_id = (await guarded.jobs.SubmitJob(submit, metadata=header)).job.id
        watch = guarded.jobs.WatchJob(job_pb2.WatchJobRequest(job_id=job_id), metadata=header)
        stream = guarded.vision.InferStream(idle(), metadata=header)
        for call in (watch, stream):
            await call.read()
            opened.append(call)
    started_s = time.monotonic()
    end(keys)
    faults = await asyncio.gather(*(until_refused(call) for call in opened[:2]))
    assert time.monotonic() - started_s < 5
    assert {fault.reason for fault in faults} == {"UNAUTHENTICATED"}
    assert {fault.metadata["problem"] for fault in faults} == {problem}
    if end is not remove:
        await asyncio.sleep(2 * INTERVAL_S)
        assert not any(call.done() for call in opened[2:])
    hold.set()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await guarded.vision.Infer(infer_request(), metadata=headers["acme"], timeout=10)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_infer_ends_with_its_key_and_its_job_is_cancelled(
    guarded, keys, headers, patient_worker
):
    call = guarded.vision.Infer(infer_request(), metadata=headers["acme"], timeout=60)

    async def taken():
        return patient_worker.taken

    await eventually_async(taken)
    revoke(keys)
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await call
    assert fault_of(ended.value).reason == "UNAUTHENTICATED"

    async def cancelled():
        name = "arno_gateway_cancellations_sent_total"
        return guarded.registry.get_sample_value(name) == 1

    await eventually_async(cancelled)
    # Nothing of it stays open.
    assert guarded.gateway.open_call_count() == 0
