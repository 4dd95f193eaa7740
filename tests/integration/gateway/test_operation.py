"""How a gateway is run: health, reflection, outages, draining, and the process itself."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import redis
from arno.api.v1 import job_pb2, job_pb2_grpc, vision_pb2_grpc
from arno.bus import make_admin
from arno.gateway.lifecycle import SERVICE_NAMES, LoopHeartbeat
from arno.ops.health import HealthServer, Probes
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import CollectorRegistry
from support import tied_process
from support.clock import ManualClock
from support.eventually import eventually, eventually_async
from support.gateway_calls import fault_of, infer_request
from support.stand_in_worker import StandInWorker

STATES = health_pb2.HealthCheckResponse
_CALLERS = 16


async def health(channel: grpc.aio.Channel, service: str) -> int:
    stub = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service=service)
    return (await stub.Check(request, timeout=10)).status


async def test_reflection_lists_all_services(arno):
    stub = reflection_pb2_grpc.ServerReflectionStub(arno.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    call = stub.ServerReflectionInfo(iter([request]), timeout=20)
    names = {service.name for service in (await call.read()).list_services_response.service}
    assert names == {
        *SERVICE_NAMES,
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


async def test_full_store_is_told_and_jobs_can_be_read_and_deleted(
    gateway_settings, running_gateway, own_redis_server
):
    async with running_gateway(gateway_settings(redis_url=own_redis_server.url)) as arno:
        submitted = await arno.jobs.SubmitJob(
            job_pb2.SubmitJobRequest(image=infer_request().image, tasks=infer_request().tasks),
            timeout=20,
        )
        named = submitted.job.id
        with redis.Redis.from_url(own_redis_server.url) as client:
            client.config_set("maxmemory", 1)

        async def not_serving():
            return await health(arno.channel, "") == STATES.NOT_SERVING

        await eventually_async(not_serving)
        assert arno.gateway.problems() == ["the result store is full"]
        assert arno.gateway.not_ready() == []
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await arno.vision.Infer(infer_request(), timeout=20)
        fault = fault_of(refused.value)
        assert (fault.code, fault.reason) == ("UNAVAILABLE", "BACKEND_UNAVAILABLE")
        assert fault.message == "the result store is full"
        shown = await arno.jobs.GetJob(job_pb2.GetJobRequest(job_id=named), timeout=20)
        assert shown.job.id == named
        await arno.jobs.DeleteJob(job_pb2.DeleteJobRequest(job_id=named), timeout=20)
        with pytest.raises(grpc.aio.AioRpcError) as gone:
            await arno.jobs.GetJob(job_pb2.GetJobRequest(job_id=named), timeout=20)
        assert fault_of(gone.value).code == "NOT_FOUND"


@pytest.mark.parametrize("service", ["", *SERVICE_NAMES])
async def test_each_service_is_serving_once_the_gateway_runs(arno, service):
    assert await health(arno.channel, service) == STATES.SERVING


async def test_outage_is_told_quickly_with_a_retry_delay_and_ends_by_itself(
    gateway_settings, running_gateway, own_redis_server
):
    settings = gateway_settings(redis_url=own_redis_server.url)
    async with running_gateway(settings) as arno:
        own_redis_server.kill()

        async def not_serving():
            return await health(arno.channel, "") == STATES.NOT_SERVING

        await eventually_async(not_serving)
        # Ready: it answers, and its name must not vanish from every client's view.
        assert arno.gateway.not_ready() == arno.gateway.not_alive() == []
        assert arno.gateway.problems() == [
            "the bus does not answer",
            "the result store does not answer",
        ]
        started_s = time.monotonic()
        for _ in range(50):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await arno.vision.Infer(infer_request(), timeout=20)
            fault = fault_of(refused.value)
            assert (fault.code, fault.reason) == ("UNAVAILABLE", "BACKEND_UNAVAILABLE")
            assert fault.retry_delay_s == settings.backend_check_interval_s
        assert time.monotonic() - started_s < 5
        # Nothing is kept of refused calls: the budget is whole again.
        assert arno.registry.get_sample_value("arno_gateway_image_in_flight_bytes") == 0
        own_redis_server.start()

        async def serving():
            return await health(arno.channel, "") == STATES.SERVING

        await eventually_async(serving)
        with StandInWorker(settings):
            assert (await arno.vision.Infer(infer_request(), timeout=20)).results


async def test_calls_that_wait_for_a_busy_loop_when_the_gateway_leaves_go_elsewhere(
    gateway_settings, running_gateway
):
    # Of the calls that gRPC has not handed on when its server stops each would end as CANCELLED.
    async with running_gateway(gateway_settings()) as arno:
        with ThreadPoolExecutor(_CALLERS) as pool:
            calling = threading.Barrier(_CALLERS + 1)
            codes = [
                pool.submit(_code_of_a_call, arno.gateway.port, calling) for _ in range(_CALLERS)
            ]
            await asyncio.to_thread(calling.wait, 30)
            # The loop does not turn while the calls arrive.
            time.sleep(0.5)  # noqa: ASYNC251
            await arno.gateway.stop()
            ended = [await asyncio.wrap_future(code) for code in codes]
    # Those that the loop takes up before it begins to leave are answered: there is no such job.
    assert set(ended) <= {"UNAVAILABLE", "NOT_FOUND"}


def _code_of_a_call(port: int, calling: threading.Barrier) -> str:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        grpc.channel_ready_future(channel).result(30)
        calling.wait(30)
        try:
            request = job_pb2.GetJobRequest(job_id="absent")
            job_pb2_grpc.JobServiceStub(channel).GetJob(request, timeout=20)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


async def test_leaving_gateway_serves_during_its_notice_and_finishes_calls_in_hand_after_it(
    gateway_settings, running_gateway
):
    async with running_gateway(gateway_settings(drain_s=20, drain_notice_s=2)) as arno:
        with StandInWorker(arno.settings, answers=False) as worker:

            async def taken(count):
                async def enough():
                    return len(worker.taken) >= count

                await eventually_async(enough)

            call = asyncio.ensure_future(arno.vision.Infer(infer_request(), timeout=20))
            await taken(1)
            stop = asyncio.create_task(arno.gateway.stop())

            async def not_serving():
                return await health(arno.channel, SERVICE_NAMES[0]) == STATES.NOT_SERVING

            await eventually_async(not_serving)
            assert arno.gateway.not_ready() == ["draining"]
            started_s = time.monotonic()
            late = asyncio.ensure_future(arno.vision.Infer(infer_request(), timeout=20))
            await taken(2)
            worker.finish(worker.taken[1])
            assert (await late).results
            # Otherwise this has shown nothing of the notice.
            assert time.monotonic() - started_s < 2

            async def refused():
                with pytest.raises(grpc.aio.AioRpcError) as asked:
                    await arno.jobs.GetJob(job_pb2.GetJobRequest(job_id="absent"), timeout=20)
                return asked.value.code() is grpc.StatusCode.UNAVAILABLE

            await eventually_async(refused)
            worker.finish(worker.taken[0])
            assert (await call).results
            await stop


async def test_gateway_whose_loop_is_blocked_is_not_alive_and_lives_again_when_it_turns(
    gateway_settings, running_gateway
):
    async with running_gateway(gateway_settings(loop_silence_s_max=0.5)) as arno:
        probes = HealthServer(
            host="127.0.0.1",
            port=0,
            registry=CollectorRegistry(),
            probes=Probes(arno.gateway.not_ready, arno.gateway.not_alive),
        )
        probes.start()
        found = []

        def ask():
            for path in ("livez", "livez", "readyz"):
                found.append(_status(f"http://127.0.0.1:{probes.port}/{path}"))
                blocked.wait(0.8)

        blocked = threading.Event()
        asking = threading.Thread(target=ask)
        try:
            asking.start()
            # The loop: nothing of asyncio runs until the thread has asked.
            asking.join(timeout=30)
            assert [status for status, _ in found] == [200, 503, 503]
            assert "the event loop has not turned for" in found[1][1]

            async def alive():
                return not arno.gateway.not_alive()

            await eventually_async(alive)
        finally:
            await asyncio.to_thread(probes.close)


async def test_blocked_loop_is_noticed_within_ten_seconds_by_default(gateway_settings):
    settings = gateway_settings()
    clock = ManualClock()
    heartbeat = LoopHeartbeat(silence_s_max=settings.loop_silence_s_max, clock=clock)
    assert heartbeat.problems() == []
    heartbeat.start()
    assert heartbeat.problems() == []
    clock.advance(10)
    assert heartbeat.problems()
    await heartbeat.close()
    assert heartbeat.problems() == []


async def test_unexpected_failure_is_internal_with_an_id_that_the_log_has(
    arno, monkeypatch, caplog
):
    async def broken(*_args, **_kwargs):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(arno.store, "claim", broken)
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await arno.vision.Infer(infer_request(), timeout=20)
    fault = fault_of(failed.value)
    assert (fault.code, fault.reason) == ("INTERNAL", "INTERNAL")
    assert "secret" not in fault.message
    logged = [record for record in caplog.records if "error_id" in vars(record)]
    assert [vars(record)["error_id"] for record in logged] == [fault.metadata["error_id"]]


async def test_process_serves_logs_its_ports_and_leaves_in_order(gateway_settings, tmp_path: Path):
    settings = gateway_settings()
    admin = make_admin(settings)
    admin.ensure_topics()
    admin.close()
    log = tmp_path / "gateway.log"
    flags = {
        "--bus": "redis",
        "--redis-url": settings.redis_url,
        "--redis-key-prefix": settings.redis_key_prefix,
        "--topic-prefix": settings.topic_prefix,
        "--listen": "127.0.0.1:0",
        "--log-format": "json",
    }
    command = [sys.executable, "-m", "arno.gateway.main", *(w for p in flags.items() for w in p)]
    process = tied_process.start_tied(command, log=log)
    try:
        ports = eventually(lambda: _serving_line(log), timeout_s=40, what="the gateway serves")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{ports['port']}") as channel:
            stub = vision_pb2_grpc.VisionServiceStub(channel)
            with StandInWorker(settings):
                assert (await stub.Infer(infer_request(), timeout=20)).results
        side_door = f"http://127.0.0.1:{ports['metrics_port']}"
        assert await asyncio.to_thread(_fetch, f"{side_door}/readyz") == "ok\n"
        metrics = await asyncio.to_thread(_fetch, f"{side_door}/metrics")
        assert 'arno_gateway_requests_total{code="OK",method="Infer"} 1.0' in metrics
    finally:
        tied_process.stop(process, timeout_s=20)
    assert process.returncode == 0
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert events[-1]["message"] == "stopped"


def _serving_line(log: Path) -> dict[str, object] | None:
    events = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return next((event for event in events if "serving on" in event["message"]), None)


def _fetch(url: str) -> str:
    return _status(url)[1]


def _status(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own port
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
