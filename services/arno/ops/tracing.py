"""One trace id from the client's call to the stored result, in the W3C form ``traceparent``.

Between processes the context travels in gRPC metadata and in the headers of bus records. Spans go
to whatever exporter the operator has set up through OpenTelemetry's own means; without one, the ids
still tie the logs of all processes together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR = TraceContextTextMapPropagator()
# It finds the provider that is set up later.
_TRACER = trace.get_tracer("arno")


def configure_tracing(process: str) -> None:
    """Name this process in its spans. Call it once, before the first span."""
    resource = Resource.create({"service.name": f"arno-{process}"})
    # This provider has no exporter: ids are all that anybody sees of a span, unless its caller
    # wants to trace it. Keeping attributes and times costs a small job a tenth of a millisecond.
    sampler = ParentBased(ALWAYS_OFF)
    trace.set_tracer_provider(TracerProvider(sampler=sampler, resource=resource))


@contextmanager
def span(name: str, *, kind: SpanKind, carrier: Mapping[str, bytes | str]) -> Iterator[trace.Span]:
    """Work inside a span whose parent is in ``carrier``, or in a new trace where it holds none.

    Args:
        name: What is being done.
        kind: The span's side of the exchange.
        carrier: gRPC metadata or a record's headers.
    """
    started = start_span(name, kind=kind, carrier=carrier)
    # Without the traceback: to format one costs as much as all else that a refusal does, and what
    # was not expected is in the log, under the same trace id.
    with trace.use_span(started, end_on_exit=True, record_exception=False):
        yield started


def start_span(name: str, *, kind: SpanKind, carrier: Mapping[str, bytes | str]) -> trace.Span:
    """Return a span that any thread may end, for work that crosses threads.

    Args:
        name: What is being done.
        kind: The span's side of the exchange.
        carrier: gRPC metadata or a record's headers, with the parent.
    """
    text = {
        key: value.decode("ascii", "replace") if isinstance(value, bytes) else value
        for key, value in carrier.items()
    }
    parent = _PROPAGATOR.extract(text, context=context.Context())
    return _TRACER.start_span(name, context=parent, kind=kind)


def trace_headers() -> dict[str, bytes]:
    """Return the headers that hand the present trace to the next process."""
    text: dict[str, str] = {}
    _PROPAGATOR.inject(text)
    return {key: value.encode("ascii") for key, value in text.items()}


def current_trace_id() -> str | None:
    """Return the trace that the calling code works on, as 32 hex digits, or None."""
    found = trace.get_current_span().get_span_context()
    return format_trace_id(found.trace_id) if found.is_valid else None
