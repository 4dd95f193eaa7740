"""The trace context survives the way from gRPC metadata through bus headers to the worker."""

from __future__ import annotations

import pytest
from arno.ops.tracing import configure_tracing, current_trace_id, span, trace_headers
from opentelemetry.sdk.trace import ReadableSpan
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
