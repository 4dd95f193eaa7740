"""The trace context survives the way from gRPC metadata through bus headers to the worker."""

from __future__ import annotations

import pytest
from arno.ops import tracing
from arno.ops.tracing import (
    configure_tracing,
    current_trace_id,
    export_wanted,
    past_stage,
    span,
    stage,
    trace_headers,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

configure_tracing("test")

CLIENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_one_trace_id_from_client_to_worker() -> None:
    with span("gateway", kind=SpanKind.SERVER, carrier={"traceparent": CLIENT}):
        headers = trace_headers()
        assert current_trace_id() == "0af7651916cd43dd8448eb211c80319c"
    with span("worker", kind=SpanKind.CONSUMER, carrier=headers):
        assert current_trace_id() == "0af7651916cd43dd8448eb211c80319c"
        assert trace_headers()["traceparent"] != headers["traceparent"]


def test_a_request_without_a_trace_begins_one() -> None:
    with span("gateway", kind=SpanKind.SERVER, carrier={}):
        first = current_trace_id()
    with span("gateway", kind=SpanKind.SERVER, carrier={"traceparent": "nonsense"}):
        second = current_trace_id()
    assert first
    assert second
    assert first != second


def test_outside_of_a_span_there_is_no_trace() -> None:
    assert current_trace_id() is None
    assert trace_headers() == {}


def test_span_of_what_failed_says_so_without_a_traceback() -> None:
    with (
        pytest.raises(ValueError, match="broken"),
        span("gateway", kind=SpanKind.SERVER, carrier={"traceparent": CLIENT}) as failed,
    ):
        raise ValueError("broken")
    assert isinstance(failed, ReadableSpan)
    assert failed.status.status_code is StatusCode.ERROR
    assert not failed.events


def test_span_that_nobody_wants_to_see_has_its_ids_and_keeps_nothing() -> None:
    with span("gateway", kind=SpanKind.SERVER, carrier={}) as unseen:
        assert current_trace_id()
    assert not unseen.is_recording()


@pytest.mark.parametrize(
    ("variables", "sent"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4317"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}, False),
    ],
    ids=lambda value: ",".join(value) or "nothing" if isinstance(value, dict) else str(value),
)
def test_spans_are_sent_where_the_standard_variables_ask_for_it(variables, sent) -> None:
    assert export_wanted(variables) is sent


def test_stages_are_spans_only_where_the_trace_is_sampled(monkeypatch) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_TRACER", provider.get_tracer("test"))
    with stage("admit"):
        pass
    assert not exporter.get_finished_spans()
    with span("gateway", kind=SpanKind.SERVER, carrier={}) as call, stage("admit"):
        past_stage(call, "queue", took_s=2.0, ended_s_ago=1.0, result="a.0")
    queue, admit, gateway = exporter.get_finished_spans()
    assert [one.name for one in (queue, admit, gateway)] == ["queue", "admit", "gateway"]
    assert queue.parent == admit.parent == gateway.context
    assert (queue.end_time or 0) - (queue.start_time or 0) == 2_000_000_000
    assert queue.attributes == {"arno.result": "a.0"}
