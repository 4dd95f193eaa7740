"""Bound the open streams of gRPC's own services: health and reflection.

Stands alone: these services are not Arno's, pass no drain and no quota, and need no key, so that
probes are answered whatever happens. Only their number is bounded here, and for each caller.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import grpc

from arno.errors import OverloadedError
from arno.gateway.calls import Caller
from arno.gateway.settings import GatewayLimits
from arno.gateway.status import fault_to_wire, wire_to_grpc

_WHAT: Final = "health and reflection streams"


class StandardStreams:
    """Counts open streams, of all callers and of each. Lives in one asyncio loop.

    A caller is its tenant where it showed a key, and otherwise the host that it calls from.
    """

    def __init__(self, limits: GatewayLimits, *, caller_share: float) -> None:
        """Take the limit, and the part of it that one caller may have open."""
        self._limit = limits.health_streams_max
        self._own_limit = max(1, int(caller_share * self._limit))
        self._retry_delay_s = limits.overload_retry_s
        self._open: Counter[str] = Counter()

    def bounded(self, handler: Any, caller: Caller) -> Any:
        """Return a handler that counts its streams, and refuses those above the limit.

        Calls with one answer need no bound: they end at once.
        """
        if not handler.response_streaming:
            return handler
        behaviour = handler.stream_stream or handler.unary_stream

        async def call(requests: Any, context: Any) -> None:
            host = context.peer().rpartition(":")[0]
            try:
                with self._hold(caller.tenant if caller.key_id else host):
                    responses = behaviour(requests, context)
                    if not hasattr(responses, "__aiter__"):
                        await responses
                        return
                    async for response in responses:
                        await context.write(response)
            except OverloadedError as error:
                await context.abort_with_status(wire_to_grpc(fault_to_wire(error)))

        rebuild = (
            grpc.stream_stream_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_stream_rpc_method_handler
        )
        return rebuild(
            call,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    @contextmanager
    def _hold(self, caller: str) -> Iterator[None]:
        self._check(f"open {_WHAT}", self._open.total() + 1, self._limit)
        self._check(f"open {_WHAT} of one caller", self._open[caller] + 1, self._own_limit)
        self._open[caller] += 1
        try:
            yield
        finally:
            self._open[caller] -= 1
            if not self._open[caller]:
                del self._open[caller]

    def _check(self, what: str, wanted: int, limit: int) -> None:
        if wanted > limit:
            raise OverloadedError(
                f"the gateway is full: {what} would be {wanted}; allowed: {limit} "
                "(health_streams_max)",
                retry_delay_s=self._retry_delay_s,
                budget=_WHAT,
                limit=str(limit),
                wanted=str(wanted),
            )
