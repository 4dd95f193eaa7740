"""A client that leaves, cancels or runs out of time, at each stage of its job."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
from arno.api.v1 import job_pb2, job_pb2_grpc, vision_pb2, vision_pb2_grpc
from arno.worker.settings import WorkerSettings
from chaos.machine import Machine, MachineOptions
from chaos.workload import make_question
from support.eventually import eventually, eventually_async
from support.gateway_calls import fault_of
from support.job_client import JobClient
from support.workers import RunningWorker

QUESTION = make_question(1, "stages")
SUBMIT = job_pb2.SubmitJobRequest(image=QUESTION.image, tasks=QUESTION.tasks)
INFER = vision_pb2.InferRequest(image=QUESTION.image, tasks=QUESTION.tasks)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A gateway of its own process; the worker is the test's."""
    options = MachineOptions(bus="redis", gateways=1, workers=0)
    machine = Machine(tmp_path_factory.mktemp("stages"), options)
    machine.start()
    (gateway,) = machine.gateways
    eventually(lambda: gateway.ready, timeout_s=90, what="the gateway serves")
    yield machine
    machine.stop()


@pytest.fixture
def settings(machine: Machine) -> WorkerSettings:
    return machine.settings.model_copy(update={"cancel_poll_s": 0.05})


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """While this file exists, the engine holds everything back."""
    path = tmp_path / "gate"
    path.touch()
    return path


@pytest.fixture
def client(settings: WorkerSettings) -> Iterator[JobClient]:
    with JobClient(settings) as client:
        yield client


@pytest.fixture
async def channel(machine: Machine) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(machine.addresses[0]) as channel:
        yield channel


def _open(gate: Path) -> None:
    gate.unlink()


async def _in_engine(worker: RunningWorker, count: int) -> list[str]:
    async def probe() -> list[str] | None:
        ids = worker.worker.job_ids()
        return ids if len(ids) == count and worker.engine.held_count else None

    ids = await eventually_async(probe, what=f"{count} jobs are in the engine")
    assert ids is not None
    return ids


async def test_client_that_goes_away_takes_its_work_out_of_the_engine(
    settings: WorkerSettings, gate: Path, client: JobClient, channel: grpc.aio.Channel
) -> None:
    with RunningWorker(settings, gate) as worker:
        call = vision_pb2_grpc.VisionServiceStub(channel).Infer(INFER, timeout=60)
        (job_id,) = await _in_engine(worker, 1)
        assert call.cancel()
        # The gate is still shut: only a cancel ends this job.
        assert client.outcome(job_id).state == job_pb2.JOB_STATE_CANCELLED
        eventually(lambda: worker.counts("arno_worker_in_hand_jobs") == {})


async def test_durable_job_goes_on_without_its_client(
    machine: Machine, settings: WorkerSettings, gate: Path, client: JobClient
) -> None:
    with RunningWorker(settings, gate) as worker:
        async with grpc.aio.insecure_channel(machine.addresses[0]) as own:
            reply = await job_pb2_grpc.JobServiceStub(own).SubmitJob(SUBMIT, timeout=20)
        await _in_engine(worker, 1)
        _open(gate)
        assert client.outcome(reply.job.id).state == job_pb2.JOB_STATE_SUCCEEDED


async def test_deadline_of_the_call_ends_the_work_in_the_engine(
    settings: WorkerSettings, gate: Path, channel: grpc.aio.Channel
) -> None:
    with RunningWorker(settings, gate) as worker:
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await vision_pb2_grpc.VisionServiceStub(channel).Infer(INFER, timeout=1.5)
        fault = fault_of(late.value)
        assert (fault.code, fault.reason) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
        eventually(lambda: worker.counts("arno_worker_in_hand_jobs") == {})
        assert worker.counts("arno_worker_jobs_total") == {"EXPIRED": 1}


async def test_job_cancelled_before_any_worker_began_it_never_runs(
    settings: WorkerSettings, gate: Path, client: JobClient, channel: grpc.aio.Channel
) -> None:
    jobs = job_pb2_grpc.JobServiceStub(channel)
    unwanted = (await jobs.SubmitJob(SUBMIT, timeout=20)).job.id
    reply = await jobs.CancelJob(job_pb2.CancelJobRequest(job_id=unwanted), timeout=20)
    assert reply.job.state == job_pb2.JOB_STATE_CANCELLED
    wanted = (await jobs.SubmitJob(SUBMIT, timeout=20)).job.id
    _open(gate)
    with RunningWorker(settings, gate) as worker:
        assert client.outcome(wanted).state == job_pb2.JOB_STATE_SUCCEEDED
        eventually(lambda: worker.counts("arno_worker_repeated_deliveries_total") == {"": 1})
        # Callers see a result before its worker has counted it.
        eventually(lambda: worker.counts("arno_worker_jobs_total") == {"SUCCEEDED": 1})
    assert client.look(unwanted).attempt_count == 0


async def test_job_cancelled_in_the_engine_ends_there(
    settings: WorkerSettings, gate: Path, client: JobClient, channel: grpc.aio.Channel
) -> None:
    jobs = job_pb2_grpc.JobServiceStub(channel)
    with RunningWorker(settings, gate) as worker:
        job_id = (await jobs.SubmitJob(SUBMIT, timeout=20)).job.id
        await _in_engine(worker, 1)
        await jobs.CancelJob(job_pb2.CancelJobRequest(job_id=job_id), timeout=20)
        assert client.outcome(job_id).state == job_pb2.JOB_STATE_CANCELLED
