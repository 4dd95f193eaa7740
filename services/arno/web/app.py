"""Put the web application together: routes, pages, the guard around them, the gateway's client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from arno import __version__
from arno.client import AsyncClient
from arno.errors import ArnoError
from arno.web import calls, cameras, chat
from arno.web.guard import Guard
from arno.web.label_studio import backend as label_studio
from arno.web.openapi import openapi_document
from arno.web.problems import on_error
from arno.web.settings import AppSettings

STATIC: Final = Path(__file__).with_name("static")
_READY_TIMEOUT_S: Final = 2.0


def make_app(settings: AppSettings, connect: Callable[[], AsyncClient]) -> Starlette:
    """Return the application.

    Args:
        settings: Limits and names.
        connect: Makes the client of the gateway; called in the loop that serves.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with connect() as client, label_studio.Backend.open(settings) as backend:
            app.state.client, app.state.label_studio = client, backend
            yield

    app = Starlette(
        routes=[
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
        ],
        middleware=[Middleware(Guard, settings=settings)],
        exception_handlers={ArnoError: on_error, HTTPException: on_error, Exception: on_error},
        lifespan=lifespan,
    )
    app.state.settings = settings
    return app


async def _alive(_: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _ready(request: Request) -> Response:
    client: AsyncClient = request.app.state.client
    if await client.ready(timeout_s=_READY_TIMEOUT_S):
        return PlainTextResponse("ok\n")
    return PlainTextResponse(f"the gateway at {client.address} is not ready\n", 503)


async def _about(request: Request) -> Response:
    """Say what the page cannot know: where the gateway is, and how large a request may be."""
    settings: AppSettings = request.app.state.settings
    client: AsyncClient = request.app.state.client
    document = {
        "version": __version__,
        "gateway": client.address,
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
