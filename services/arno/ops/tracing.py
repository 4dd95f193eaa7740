"""One trace id from the client's call to the stored result, in the W3C form ``traceparent``.

Between processes the context travels in gRPC metadata and in the headers of bus records. Where
OpenTelemetry's own variables ask for it (``OTEL_EXPORTER_OTLP_ENDPOINT`` or
``OTEL_TRACES_EXPORTER=otlp``), spans are sent to a collector; without, the ids still tie the logs
of all processes together. A span is opened for each stage of a job, where its trace is sampled.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from opentelemetry import context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from arno.errors import MissingExtraError

logger = logging.getLogger(__name__)

_PROPAGATOR = TraceContextTextMapPropagator()
# It finds the provider that is set up later.
_TRACER = trace.get_tracer("arno")

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_EXPORT_S: Final = "5"
"""How long a collector may take, where ``OTEL_EXPORTER_OTLP_TIMEOUT`` does not say: what is left at
the end of a process is sent within that time."""


def configure_tracing(process: str) -> None:
    """Name this process in its spans, and send them where variables ask for it.

    Sampler, endpoint, headers and further attributes are OpenTelemetry's own variables
    (docs/traces.md). Call it once, before the first span.

    Raises:
        MissingExtraError: Spans are to be sent, and the exporter is not installed.
    """
    resource = Resource.create(_names(process))
    if not export_wanted(os.environ):
        # Ids are all that can be seen of a span, unless its caller wants to trace it. Keeping
        # attributes and times costs a small job a tenth of a millisecond.
        sampler = ParentBased(ALWAYS_OFF)
        trace.set_tracer_provider(TracerProvider(sampler=sampler, resource=resource))
        return
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise MissingExtraError(
            "OTEL_* variables ask for traces: pip install 'arno[traces]'", extra="traces"
        ) from error
    os.environ.setdefault("OTEL_EXPORTER_OTLP_TIMEOUT", _EXPORT_S)
    # A collector that is away costs a warning at most: its own retries are at INFO and above.
    logging.getLogger("opentelemetry.exporter").setLevel(logging.ERROR)
    provider = TracerProvider(resource=resource)
    # On a thread of its own, with a queue that drops what does not fit.
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    logger.info("traces are sent", extra={"sampler": provider.sampler.get_description()})


def export_wanted(variables: Mapping[str, str]) -> bool:
    """Return whether OpenTelemetry's variables ask for spans to be sent."""
    if variables.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = variables.get("OTEL_TRACES_EXPORTER", "")
    return exporter == "otlp" or (exporter == "" and any(map(variables.get, _ENDPOINTS)))


def _names(process: str) -> dict[str, str]:
    given = "OTEL_SERVICE_NAME" in os.environ
    given = given or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return {} if given else {"service.name": f"arno-{process}"}


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


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Work on a stage of the present call: a span of its own, where its trace is sampled."""
    if not trace.get_current_span().is_recording():
        yield
        return
    with _TRACER.start_as_current_span(name, record_exception=False):
        yield


def past_stage(
    parent: trace.Span, name: str, *, took_s: float, ended_s_ago: float = 0.0, **attributes: str
) -> None:
    """Add a stage that has ended to a span, where that is sampled.

    Args:
        parent: The span of the job.
        name: The stage.
        took_s: How long it took.
        ended_s_ago: When it ended.
        attributes: What to tell of it; names get the prefix ``arno.``.
    """
    if not parent.is_recording():
        return
    ended_ns = time.time_ns() - round(1e9 * ended_s_ago)
    past = _TRACER.start_span(
        name,
        context=trace.set_span_in_context(parent, context.Context()),
        attributes={f"arno.{key}": value for key, value in attributes.items()},
        start_time=ended_ns - round(1e9 * took_s),
    )
    past.end(end_time=ended_ns)


def trace_headers() -> dict[str, bytes]:
    """Return the headers that hand the present trace to the next process."""
    text: dict[str, str] = {}
    _PROPAGATOR.inject(text)
    return {key: value.encode("ascii") for key, value in text.items()}


def exemplar(of: trace.Span | None = None) -> dict[str, str] | None:
    """Return what leads from an observed time to its trace; None where the trace is not sent.

    Args:
        of: The span of the work; None: the present one.
    """
    found = of or trace.get_current_span()
    if not found.is_recording():
        return None
    return {"trace_id": format_trace_id(found.get_span_context().trace_id)}


def current_trace_id() -> str | None:
    """Return the trace that the calling code works on, as 32 hex digits, or None."""
    found = trace.get_current_span().get_span_context()
    return format_trace_id(found.trace_id) if found.is_valid else None
