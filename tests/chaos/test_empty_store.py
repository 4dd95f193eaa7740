"""A Redis that comes back empty: nobody is told anything false, and what is on Kafka still runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import redis
from arno.api.v1 import job_pb2, job_pb2_grpc, vision_pb2, vision_pb2_grpc
from chaos.machine import Machine, MachineOptions
from chaos.workload import make_question
from support.availability import require
from support.eventually import eventually, eventually_async
from support.gateway_calls import fault_of
from support.kafka_broker import WAYS_TO_GET_IT, kafka_available

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    require(kafka_available(), WAYS_TO_GET_IT)
    machine = Machine(tmp_path, MachineOptions(gateways=1, workers=1))
    machine.start()
    yield machine
    machine.stop()


def _job_count(url: str, wanted: int) -> bool:
    with redis.Redis.from_url(url) as client:
        return len(list(client.scan_iter("arno:job:*"))) == wanted


async def test_waiting_call_is_told_to_ask_again_and_a_job_on_kafka_runs_all_the_same(
    machine: Machine,
) -> None:
    (worker,), (gateway,) = machine.workers, machine.gateways
    eventually(lambda: worker.ready and gateway.ready, timeout_s=90, what="all is up")
    worker.stop()
    waiting, durable = make_question(1, "empty"), make_question(2, "empty")
    async with grpc.aio.insecure_channel(machine.addresses[0]) as channel:
        vision = vision_pb2_grpc.VisionServiceStub(channel)
        jobs = job_pb2_grpc.JobServiceStub(channel)
        submitted = await jobs.SubmitJob(
            job_pb2.SubmitJobRequest(image=durable.image, tasks=durable.tasks), timeout=20
        )
        look = job_pb2.GetJobRequest(job_id=submitted.job.id)
        call = vision.Infer(
            vision_pb2.InferRequest(image=waiting.image, tasks=waiting.tasks), timeout=60
        )
        await eventually_async(lambda: asyncio.to_thread(_job_count, machine.redis.url, 2))
        machine.redis.kill_and_forget()
        machine.redis.start()
        with pytest.raises(grpc.aio.AioRpcError) as told:
            await call
        fault = fault_of(told.value)
        assert (fault.code, fault.reason) == ("UNAVAILABLE", "BACKEND_UNAVAILABLE")
        assert fault.retry_delay_s is not None
        # Not NOT_FOUND: the job is on Kafka, and will be known again.
        with pytest.raises(grpc.aio.AioRpcError) as told:
            await jobs.GetJob(look, timeout=20)
        assert fault_of(told.value).code == "UNAVAILABLE"

        worker.launch()

        async def ended() -> job_pb2.Job | None:
            try:
                job = (await jobs.GetJob(look, timeout=5)).job
            except grpc.aio.AioRpcError:
                return None
            return job if job.state == job_pb2.JOB_STATE_SUCCEEDED else None

        job = await eventually_async(ended, timeout_s=60, what="the job on Kafka has run")
        assert job is not None
        assert durable.fault(job.response) == ""
        again = await asyncio.wait_for(
            vision.Infer(
                vision_pb2.InferRequest(image=waiting.image, tasks=waiting.tasks), timeout=30
            ),
            30,
        )
        assert waiting.fault(again) == ""
