"""Wraps every call of Arno's services: access, trace, notes, drain, metrics, log line and status.

Services raise; this is the one place where an exception becomes a status. Health and reflection are
not wrapped, so that they answer while the gateway drains; but the gatekeeper checks every call of
every service, and `standard_streams` bounds the streams of these two.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any, Final

import grpc
from opentelemetry.trace import SpanKind

from arno.errors import ArnoError, Code
from arno.gateway.access.gatekeeper import Gatekeeper
from arno.gateway.admission import ConcurrencyLimit
from arno.gateway.calls import ANONYMOUS, Caller, CallNotes, begin_call
from arno.gateway.lifecycle import Drain
from arno.gateway.metrics import GatewayMetrics
from arno.gateway.request_reader import Messages, RequestReader, tolerant_deserializer
from arno.gateway.standard_streams import StandardStreams
from arno.gateway.status import fault_to_wire, wire_to_grpc
from arno.ops.tracing import exemplar, span, stage

logger = logging.getLogger(__name__)

_OWN_METHODS: Final = "/arno."
_INTERNAL_CODES: Final = frozenset({Code.INTERNAL, Code.UNKNOWN})

# grpc's own types cannot say what a handler of any method is; the generated stubs check the
# services, and this module only passes messages through.
_Context = Any
_Handler = Any
_Receive = Callable[[AsyncIterator[Any]], Awaitable[Any]]


class GatewayInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the handlers of Arno's services. Lives in the server's loop."""

    def __init__(
        self,
        *,
        gatekeeper: Gatekeeper,
        reader: RequestReader,
        metrics: GatewayMetrics,
        drain: Drain,
        call_limit: ConcurrencyLimit,
        standard_streams: StandardStreams,
    ) -> None:
        """Take the parts that every call passes, and what bounds those of gRPC's own services."""
        self._standard_streams = standard_streams
        self._reader = reader
        self._gatekeeper = gatekeeper
        self._metrics = metrics
        self._drain = drain
        self._call_limit = call_limit

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler:
        """Return the handler of a call, wrapped, or one that refuses it."""
        handler = await continuation(handler_call_details)
        path = handler_call_details.method
        if handler is None:
            return None
        method = path.rsplit("/", 1)[1]
        caller = ANONYMOUS
        try:
            caller = self._gatekeeper.identify(path, handler_call_details.invocation_metadata)
            self._gatekeeper.admit(caller)
        except ArnoError as error:
            return self._refusing(method, error, caller)
        if not path.startswith(_OWN_METHODS):
            return self._standard_streams.bounded(handler, caller)
        return self._wrapped(method, handler, caller)

    def _refusing(self, method: str, error: ArnoError, caller: Caller) -> _Handler:
        async def refuse(requests: Any, context: _Context) -> None:
            async with self._around(method, context, caller):
                raise error

        # As a stream, whatever the method is: gRPC then never reads the message of an unknown
        # caller, and it may be megabytes long.
        return grpc.stream_unary_rpc_method_handler(refuse)

    def _wrapped(self, method: str, handler: _Handler, caller: Caller) -> _Handler:
        receive: _Receive = (
            _stream
            if handler.request_streaming
            else partial(self._reader.read_only, tenant=caller.tenant)
        )
        if handler.response_streaming:
            behaviour = handler.unary_stream or handler.stream_stream
            call = self._streaming(method, receive, behaviour, caller)
        else:
            behaviour = handler.unary_unary or handler.stream_unary
            call = self._unary(method, receive, behaviour, caller)
        # As a stream of requests, whatever the method is: `request_reader` says why.
        rebuild = _REBUILD[handler.response_streaming]
        return rebuild(
            call,
            request_deserializer=tolerant_deserializer(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )

    def _unary(
        self, method: str, receive: _Receive, behaviour: Callable[..., Any], caller: Caller
    ) -> Callable[..., Any]:
        async def call(requests: Any, context: _Context) -> Any:
            async with self._around(method, context, caller):
                await self._gatekeeper.turn(caller)
                return await behaviour(await _received(receive, context), context)
            raise AssertionError("a call that fails has been aborted")

        return call

    def _streaming(
        self, method: str, receive: _Receive, behaviour: Callable[..., Any], caller: Caller
    ) -> Callable[..., Any]:
        async def call(requests: Any, context: _Context) -> None:
            # Not a generator itself: one that is dropped half-way would leave its span and its
            # numbers open until the garbage collector comes.
            async with self._around(method, context, caller):
                await self._gatekeeper.turn(caller)
                async with aclosing(
                    behaviour(await receive(Messages(context)), context)
                ) as responses:
                    async for response in responses:
                        await _write(context, response)

        return call

    @asynccontextmanager
    async def _around(self, method: str, context: _Context, caller: Caller) -> AsyncIterator[None]:
        metadata = dict(context.invocation_metadata() or ())
        notes = begin_call(caller)
        started_s = time.monotonic()
        code = "OK"
        reason = ""
        sample: dict[str, str] | None = None
        open_requests = self._metrics.open_requests.labels(method)
        open_requests.inc()
        try:
            with span(f"gateway {method}", kind=SpanKind.SERVER, carrier=metadata) as own:
                sample = exemplar(own)
                try:
                    if self._drain.begun:
                        raise self._drain.refuse_new()
                    # The tenant's own limit first: above it the tenant costs the others nothing.
                    with (
                        self._gatekeeper.hold_open(caller, "calls_open"),
                        self._call_limit.hold(),
                    ):
                        async with self._gatekeeper.while_valid(caller):
                            yield
                except asyncio.CancelledError:
                    code = _code_of_cancelled(context)
                    raise
                except Exception as raised:  # noqa: BLE001 - each must become a status
                    error = fault_to_wire(raised)
                    status = wire_to_grpc(error)
                    code, reason = status.code.name, error.reason
                    await _abort(context, status, raised)
                finally:
                    self._log(method, notes, code, reason, time.monotonic() - started_s)
        finally:
            open_requests.dec()
            self._metrics.requests.labels(method, code).inc()
            took_s = time.monotonic() - started_s
            self._metrics.request_seconds.labels(method).observe(took_s, sample)
            if reason:
                self._metrics.faults.labels(reason).inc()

    def _log(
        self, method: str, notes: CallNotes, code: str, reason: str, duration_s: float
    ) -> None:
        ours = reason and Code[code] in _INTERNAL_CODES
        level = logging.ERROR if ours else logging.DEBUG
        if not logger.isEnabledFor(level):
            return
        logger.log(
            level,
            "%s ended with %s",
            method,
            code,
            extra={
                "method": method,
                "code": code,
                "reason": reason,
                "tenant": notes.caller.tenant,
                "key_id": notes.caller.key_id,
                "job_id": notes.job_id,
                "job_count": notes.job_count,
                "duration_s": round(duration_s, 6),
            },
        )


_REBUILD: Final[dict[bool, Callable[..., _Handler]]] = {
    False: grpc.stream_unary_rpc_method_handler,
    True: grpc.stream_stream_rpc_method_handler,
}
"""By whether responses are a stream."""


async def _abort(context: _Context, status: grpc.Status, raised: Exception) -> None:
    try:
        await context.abort_with_status(status)
    except grpc.aio.AbortError as aborted:
        # gRPC keeps this exception with the call, and its frames keep the call and its message: a
        # reference cycle that only a full collection would find. It is handled before the loop's
        # next turn.
        asyncio.get_running_loop().call_soon(_forget_frames, (aborted, raised))
        raise


async def _write(context: _Context, response: Any) -> None:
    try:
        await context.write(response)
    except grpc.aio.InternalError as error:
        # The connection is gone, and gRPC had not yet come to cancelling the call: its caller has
        # left, which is no fault of ours.
        raise asyncio.CancelledError from error


def _forget_frames(errors: tuple[BaseException, ...]) -> None:
    for error in errors:
        error.__traceback__ = error.__context__ = None


def _code_of_cancelled(context: _Context) -> str:
    remaining_s = context.time_remaining()
    late = remaining_s is not None and remaining_s <= 0
    return "DEADLINE_EXCEEDED" if late else "CANCELLED"


async def _received(receive: _Receive, context: _Context) -> Any:
    with stage("receive"):
        return await receive(Messages(context))


async def _stream(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    return requests
