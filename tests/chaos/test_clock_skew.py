"""Processes whose wall clocks are an hour off: deadlines mean the same moment to all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from arno.api.v1 import job_pb2, job_pb2_grpc, vision_pb2, vision_pb2_grpc
from chaos import skewed
from chaos.machine import Machine, MachineOptions
from chaos.schedule import Nemesis, Part
from chaos.workload import make_question
from google.protobuf.duration_pb2 import Duration
from support.eventually import eventually, eventually_async

pytestmark = [pytest.mark.redis, pytest.mark.timeout(240)]

_AN_HOUR_S = 3600.0
_LIFE_S = 60


@pytest.fixture(
    params=[(part, sign) for part in (Part.GATEWAY, Part.WORKER) for sign in (1, -1)],
    ids=["gateway ahead", "gateway behind", "worker ahead", "worker behind"],
)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    part, sign = request.param
    options = MachineOptions(bus="redis", gateways=1, workers=1, nemeses=frozenset({Nemesis.CLOCK}))
    machine = Machine(tmp_path, options)
    (kept,) = machine.kept[part]
    assert kept.clock is not None
    skewed.set_ahead(kept.clock, sign * _AN_HOUR_S)
    machine.start()
    yield machine
    machine.stop()


async def test_wrong_clock_neither_expires_a_job_early_nor_keeps_it_for_ever(
    machine: Machine,
) -> None:
    (worker,), (gateway,) = machine.workers, machine.gateways
    eventually(lambda: worker.ready and gateway.ready, timeout_s=90, what="all is up")
    question = make_question(1, "skew")
    async with grpc.aio.insecure_channel(machine.addresses[0]) as channel:
        vision = vision_pb2_grpc.VisionServiceStub(channel)
        jobs = job_pb2_grpc.JobServiceStub(channel)
        request = vision_pb2.InferRequest(image=question.image, tasks=question.tasks)
        answer = await vision.Infer(request, timeout=30)
        assert question.fault(answer) == ""

        submit = job_pb2.SubmitJobRequest(
            image=question.image, tasks=question.tasks, time_to_live=Duration(seconds=_LIFE_S)
        )
        job = (await jobs.SubmitJob(submit, timeout=20)).job
        life_s = job.expire_time.seconds - job.submit_time.seconds
        assert abs(life_s - _LIFE_S) <= 1

        async def ended() -> job_pb2.Job | None:
            found = (await jobs.GetJob(job_pb2.GetJobRequest(job_id=job.id), timeout=5)).job
            return found if found.HasField("end_time") else None

        found = await eventually_async(ended, timeout_s=30, what="the job has ended")
        assert found is not None
        assert found.state == job_pb2.JOB_STATE_SUCCEEDED
        # Said by two processes, and of the same moment.
        assert abs(found.end_time.seconds - job.submit_time.seconds) < _LIFE_S
