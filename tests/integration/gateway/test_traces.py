"""One request is one trace at a collector; a collector that is away costs nothing."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import urllib.request
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from arno.api.v1 import vision_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from support import builders, tied_process
from support.eventually import eventually
from support.gateway_calls import infer_request

pytestmark = [pytest.mark.redis, pytest.mark.model, pytest.mark.timeout(240)]

HISTOGRAMS = {
    *("arno_gateway_request_seconds", "arno_gateway_job_seconds", "arno_worker_job_seconds"),
    *(f"arno_worker_{stage}_seconds" for stage in ("queue", "prepare", "encode", "decode")),
}
STAGES = {"receive", "admit", "publish", "queue", "prepare", "encode", "decode", "store"}


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps every span that it gets, with the name of its service."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Any]] = []

    def Export(self, request: Any, context: Any) -> Any:
        for part in request.resource_spans:
            names = {one.key: one.value.string_value for one in part.resource.attributes}
            for scope in part.scope_spans:
                self.spans += [(names["service.name"], span) for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    server, collector = grpc.server(futures.ThreadPoolExecutor(2)), Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield collector, f"http://127.0.0.1:{port}"
    server.stop(grace=None).wait()


class Processes:
    """A gateway and a worker, as operators start them."""

    def __init__(self, settings: Any, folder: Path, model: str, **variables: str) -> None:
        self._folder, self._model = folder, model
        self._settings = settings
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("OTEL_")},
            **{"OTEL_BSP_SCHEDULE_DELAY": "100", **variables},
            **{"ARNO_BUS": "redis", "ARNO_REDIS_URL": settings.redis_url},
            **{"ARNO_REDIS_KEY_PREFIX": settings.redis_key_prefix},
            **{"ARNO_TOPIC_PREFIX": settings.topic_prefix, "ARNO_LOG_FORMAT": "json"},
            **{"ARNO_METRICS_PORT": "0"},
        }
        self._running: list[Any] = []

    def __enter__(self) -> int:
        builders.with_topics(self._settings)
        self._start("worker", "--model", self._model, "--device", "cpu")
        self._start("gateway", "--listen", "127.0.0.1:0")
        self.line("worker", "takes jobs from")
        return int(self.line("gateway", "serving on")["port"])

    def __exit__(self, *_error: object) -> None:
        for process in reversed(self._running):
            tied_process.stop(process, timeout_s=30)

    @property
    def exit_codes(self) -> list[int]:
        return [process.returncode for process in self._running]

    def _start(self, verb: str, *flags: str) -> None:
        command = [sys.executable, "-m", "arno.cli", verb, *flags]
        log = self._folder / f"{verb}.log"
        self._running.append(
            tied_process.start_tied(command, log=log, environment=self._environment)
        )

    def line(self, verb: str, words: str) -> Any:
        def found() -> Any:
            text = (self._folder / f"{verb}.log").read_text()
            events = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
            return next((event for event in events if words in event["message"]), None)

        return eventually(found, timeout_s=90, what=f"{verb}: {words}")


def exemplars_of(processes: Processes, line: str) -> dict[str, str]:
    """Read /metrics as Prometheus does; return the trace that each histogram leads to."""
    verb = "gateway" if line == "serving on" else "worker"
    said = processes.line(verb, line)
    request = urllib.request.Request(
        f"http://127.0.0.1:{said.get('metrics_port') or said['port']}/metrics",
        headers={"Accept": "application/openmetrics-text; version=1.0.0"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - http
        families = list(text_string_to_metric_families(response.read().decode()))
    return {
        family.name: sample.exemplar.labels["trace_id"]
        for family in families
        for sample in family.samples
        if sample.exemplar is not None
    }


async def ask(port: int) -> Any:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = vision_pb2_grpc.VisionServiceStub(channel)
        return await stub.Infer(infer_request(), timeout=60)


def test_a_request_is_one_trace_with_every_stage(
    gateway_settings, tmp_path, collector: tuple[Collector, str]
) -> None:
    sink, endpoint = collector
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    processes = Processes(gateway_settings(), tmp_path, "tiny", **variables)
    with processes as port:
        answer = asyncio.run(ask(port))
        eventually(
            lambda: {span.name for _, span in sink.spans} >= STAGES,
            timeout_s=20,
            what=f"every stage: {[span.name for _, span in sink.spans]}",
        )
        exemplars = {
            name: trace_id
            for line in ("serving on", "probes and metrics")
            for name, trace_id in exemplars_of(processes, line).items()
        }
    assert processes.exit_codes == [0, 0]
    calls = [span for _, span in sink.spans if span.name == "gateway Infer"]
    assert len(calls) == 1
    # Each histogram of the request's way leads to its trace.
    assert exemplars.keys() >= HISTOGRAMS
    assert set(exemplars.values()) == {calls[0].trace_id.hex()}
    ours = [(service, span) for service, span in sink.spans if span.trace_id == calls[0].trace_id]
    stages = {span.name: (service, span) for service, span in ours}
    assert stages.keys() >= STAGES | {"gateway Infer", "arno.job"}
    at_gateway = {name for name, (service, _) in stages.items() if service == "arno-gateway"}
    assert at_gateway == {"gateway Infer", "receive", "admit", "publish"}
    job = stages["arno.job"][1]
    assert job.parent_span_id == stages["publish"][1].span_id
    for name in ("queue", "prepare", "encode", "decode", "store"):
        assert stages[name][1].parent_span_id == job.span_id
    queued = stages["queue"][1]
    queue_s = (queued.end_time_unix_nano - queued.start_time_unix_nano) / 1e9
    # What the metric observes and the answer says.
    told = answer.results[0].answer.timings.queue.ToTimedelta().total_seconds()
    assert queue_s == pytest.approx(told, abs=0.01)


def test_a_collector_that_is_away_changes_no_answer_and_no_end(gateway_settings, tmp_path) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    processes = Processes(gateway_settings(), tmp_path, "null", **variables)
    with processes as port:
        assert asyncio.run(ask(port)).results[0].HasField("answer")
    assert processes.exit_codes == [0, 0]
    for verb in ("gateway", "worker"):
        assert "Traceback" not in (tmp_path / f"{verb}.log").read_text()
