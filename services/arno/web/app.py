"""Put the web application together: routes, pages, the guard around them, the gateway's client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from arno import __version__
from arno.client import AsyncClient
from arno.errors import ArnoError
from arno.ops.periodic import PeriodicTask
from arno.web import calls, cameras, chat
from arno.web.guard import Guard
from arno.web.label_studio import backend as label_studio
from arno.web.metrics import Meter, WebMetrics
from arno.web.openapi import openapi_document
from arno.web.problems import on_error
from arno.web.settings import AppSettings

STATIC: Final = Path(__file__).with_name("static")
_READY_TIMEOUT_S: Final = 2.0
_ASK_S: Final = 2.0


class GatewayWatch:
    """Whether the gateway takes work, for probes that must not wait for it."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._problems = ["the gateway was not asked yet"]

    def problems(self) -> list[str]:
        """Return why there is no work to be given; empty while there is. Any thread."""
        return self._problems

    async def ask(self, client: AsyncClient, metrics: WebMetrics) -> None:
        """Ask the gateway, and remember what it said."""
        ready = await client.ready(timeout_s=_READY_TIMEOUT_S)
        metrics.gateway_up.set(ready)
        self._problems = [] if ready else [_not_ready(client)]


def make_app(
    settings: AppSettings,
    connect: Callable[[], AsyncClient],
    *,
    registry: CollectorRegistry | None = None,
    watch: GatewayWatch | None = None,
) -> Starlette:
    """Return the application.

    Args:
        settings: Limits and names.
        connect: Makes the client of the gateway; called in the loop that serves.
        registry: Where its metrics go; None keeps them to itself.
        watch: Is told whether the gateway takes work.
    """
    routes = _routes()
    metrics = WebMetrics(registry or CollectorRegistry(), routes)
    watch = watch or GatewayWatch()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with connect() as client, label_studio.Backend.open(settings) as backend:
            app.state.client, app.state.label_studio = client, backend
            metrics.late_predictions.set_function(lambda: backend.late_count)
            asking = PeriodicTask(
                "the query of the gateway", partial(watch.ask, client, metrics), interval_s=_ASK_S
            )
            asking.start()
            try:
                yield
            finally:
                await asking.close()

    app = Starlette(
        routes=routes,
        middleware=[Middleware(Meter, metrics=metrics), Middleware(Guard, settings=settings)],
        exception_handlers={ArnoError: on_error, HTTPException: on_error, Exception: on_error},
        lifespan=lifespan,
    )
    app.state.settings = settings
    return app


def _routes() -> list[BaseRoute]:
    return [
        *calls.ROUTES,
        *chat.ROUTES,
        *cameras.ROUTES,
        *label_studio.ROUTES,
        Route("/", _page("index.html")),
        Route("/cameras", _page("cameras.html")),
        Route("/about.json", _about),
        Route("/livez", _alive),
        Route("/readyz", _ready),
        Route("/openapi.json", _openapi),
        Route("/docs", _page("docs.html")),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]


async def _alive(_: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _ready(request: Request) -> Response:
    client: AsyncClient = request.app.state.client
    if await client.ready(timeout_s=_READY_TIMEOUT_S):
        return PlainTextResponse("ok\n")
    return PlainTextResponse(f"{_not_ready(client)}\n", 503)


def _not_ready(client: AsyncClient) -> str:
    return f"the gateway at {client.address} is not ready"


async def _about(request: Request) -> Response:
    """Say what the page cannot know: where the gateway is, and how large a request may be.

    Of TLS it says which files a client needs, not where this process has them.
    """
    settings: AppSettings = request.app.state.settings
    client: AsyncClient = request.app.state.client
    tls = client.tls
    document = {
        "version": __version__,
        "gateway": client.address,
        "gatewayTls": tls
        and {
            "authority": tls.root_certificates is not None,
            "certificate": tls.certificate is not None,
        },
        "bodyBytesMax": settings.web_body_bytes_max,
        "cameras": bool(settings.web_previews),
    }
    return JSONResponse(document)


async def _openapi(_: Request) -> Response:
    return JSONResponse(openapi_document())


def _page(name: str) -> Callable[[Request], FileResponse]:
    def respond(_: Request) -> FileResponse:
        # Looked up again each time: an update of the package must not be hidden by a cache.
        return FileResponse(STATIC / name, headers={"Cache-Control": "no-cache"})

    return respond
