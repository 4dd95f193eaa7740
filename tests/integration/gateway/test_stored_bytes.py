"""What one tenant stores is bounded, and what no caller comes for is not kept for long."""

from __future__ import annotations

import grpc
import pytest
import redis
from arno.api.v1 import job_pb2, types_pb2
from support.gateway_calls import fault_of, infer_request
from support.stand_in_worker import StandInWorker

TASKS = infer_request().tasks
LARGE_BYTES = 1_000_000


def large(number: int) -> types_pb2.Image:
    padding = bytes([number]) * LARGE_BYTES
    return types_pb2.Image(content=infer_request().image.content + padding)


@pytest.fixture
def raw(redis_server):
    with redis.Redis.from_url(redis_server.url) as client:
        yield client


async def test_tenant_that_fills_its_part_of_the_store_is_refused_and_another_is_served(
    keys, gateway_settings, running_gateway
):
    hostile, other = keys.key("hostile", stored_bytes=2_000_000), keys.key("other")
    settings = gateway_settings(keys_file=keys.path)
    async with running_gateway(settings) as gateway:
        first, second = (
            job_pb2.SubmitJobRequest(image=large(number), tasks=TASKS) for number in range(2)
        )
        await gateway.jobs.SubmitJob(first, metadata=hostile)
        # The same image again costs a job and no image.
        await gateway.jobs.SubmitJob(first, metadata=hostile)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await gateway.jobs.SubmitJob(second, metadata=hostile)
        fault = fault_of(refused.value)
        assert (fault.code, fault.reason) == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
        assert (fault.metadata["quota"], fault.metadata["limit"]) == ("stored_bytes", "2000000")
        assert int(fault.metadata["wanted"]) > 2_000_000
        assert fault.retry_delay_s == 60
        await gateway.jobs.SubmitJob(second, metadata=other)


@pytest.mark.parametrize("key", ["", "a-key"], ids=["without a key", "with a key"])
async def test_answered_job_is_kept_for_long_only_where_a_retry_may_come(
    gateway_settings, running_gateway, raw, unique_prefix, key
):
    settings = gateway_settings()
    async with running_gateway(settings) as gateway:
        with StandInWorker(settings):
            request = infer_request(idempotency_key=key)
            request.image.CopyFrom(large(1))
            response = await gateway.vision.Infer(request, timeout=20)
    job_s = raw.pttl(f"{unique_prefix}:job:{response.job_id}") / 1000
    (blob,) = raw.scan_iter(f"{unique_prefix}:blob:*")
    kept_s = settings.unkeyed_infer_time_to_live_s
    if key:
        assert job_s > settings.result_time_to_live_s
        assert raw.pttl(blob) / 1000 > settings.blob_time_to_live_s
    else:
        assert kept_s - 1 < job_s < kept_s + 30
        assert kept_s - 1 < raw.pttl(blob) / 1000 < kept_s + 30
