"""Every instrument of `arno web`, and the middleware that reads them off its requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OTHER: Final = "other"
"""The route of requests that none takes, or that are refused before one is looked for."""

_STREAMS: Final = (b"text/event-stream", b"multipart/x-mixed-replace")
"""Kinds of answers that go on: events, and pictures of cameras."""
# From a file of the page to a batch of predictions: 1 ms to 2 min.
_BUCKETS_S: Final = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0),
)


class WebMetrics:
    """The instruments, in the registry passed in."""

    def __init__(self, registry: CollectorRegistry, routes: Iterable[BaseRoute] = ()) -> None:
        """Register all of them; those of known routes start at 0."""
        self._paths = dict(_paths(routes))
        self.requests = Counter(
            "arno_web_requests_total",
            "Requests that ended, by route and status; 499 for callers that hung up.",
            ["route", "status"],
            registry=registry,
        )
        self.seconds = Histogram(
            "arno_web_request_seconds",
            "Time from the headers of a request to the end of its answer, without open streams.",
            ["route"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self.open_requests = Gauge(
            "arno_web_open_requests", "Requests not ended.", registry=registry
        )
        self.open_streams = Gauge(
            "arno_web_open_streams",
            "Those answered by events, or pictures of a camera, that go on.",
            registry=registry,
        )
        self.late_predictions = Gauge(
            "arno_web_late_predictions",
            "Predictions for Label Studio that come after their request.",
            registry=registry,
        )
        self.gateway_up = Gauge(
            "arno_web_gateway_up",
            "Whether the gateway took work when last asked.",
            registry=registry,
        )
        for path in {*self._paths.values(), _OTHER}:
            self.requests.labels(path, "200")
            self.seconds.labels(path)

    def route_of(self, endpoint: object) -> str:
        """Return the route whose function answers, from a closed set."""
        return self._paths.get(endpoint, _OTHER)


class Meter:
    """ASGI middleware around all others. Lives in one asyncio loop."""

    def __init__(self, app: ASGIApp, metrics: WebMetrics) -> None:
        """Take what is metered, and the instruments."""
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count its end."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = _Seen(self._metrics.open_streams.inc)
        started_s = time.perf_counter()
        self._metrics.open_requests.inc()
        try:
            await self._app(scope, receive, seen.listening(send))
        finally:
            self._metrics.open_requests.dec()
            route = self._metrics.route_of(scope.get("endpoint"))
            self._metrics.requests.labels(route, str(seen.status)).inc()
            if seen.events:
                self._metrics.open_streams.dec()
            else:
                self._metrics.seconds.labels(route).observe(time.perf_counter() - started_s)


class _Seen:
    """What was seen of an answer."""

    def __init__(self, on_events: Callable[[], None]) -> None:
        self.status = 500
        self.events = False
        self._on_events = on_events

    def listening(self, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.status = int(message["status"])
                kinds = (value for name, value in message["headers"] if name == b"content-type")
                if any(value.startswith(_STREAMS) for value in kinds):
                    self.events = True
                    self._on_events()
            await send(message)

        return sending


def _paths(routes: Iterable[BaseRoute]) -> Iterable[tuple[object, str]]:
    for route in routes:
        if isinstance(route, Route):
            yield route.endpoint, route.path
        elif isinstance(route, Mount):
            yield route.app, route.path
