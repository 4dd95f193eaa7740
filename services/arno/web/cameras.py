"""What the sources of `arno ingest` see: its previews, passed on to the page by name.

They come from the process's side door, over plain HTTP. A caller whom the gateway refuses is
refused here: where there are API keys, each preview needs one, and any key will do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from arno.errors import InvalidFieldError, OverloadedError, UnavailableError, UnknownJobError
from arno.vocabulary.inputs import quoted
from arno.web.calls import client_of, settings_of

_TIMEOUT_S: Final = 10.0
"""Without a word; previews repeat themselves more often."""

_PIECE_BYTES: Final = 64 * 1024
_WATCHED_S: Final = 300.0
"""Then the page asks again, and its key counts again."""

_NAME: Final = r"[A-Za-z0-9_-]{1,64}"
_NO_JOB: Final = "no-job"


async def list_cameras(request: Request) -> Response:
    """List the sources that can be watched; none where no address is set."""
    url = settings_of(request).web_previews
    if not url:
        return JSONResponse({"sources": []})
    await _require_key(request)
    async with _opened(url, "/preview") as (_, reader):
        return JSONResponse(json.loads(await reader.read(_PIECE_BYTES)))


async def watch_camera(request: Request) -> Response:
    """Send the pictures of one source as motion JPEG."""
    name = request.path_params["name"]
    # It becomes a part of a request line.
    if not re.fullmatch(_NAME, name):
        raise InvalidFieldError(field="name", problem="not a camera's name", sent=quoted(name))
    await _require_key(request)
    return _Preview(request, name)


class _Preview(Response):
    """Passes the pictures of one source on, for as long as the caller watches."""

    def __init__(self, request: Request, name: str) -> None:
        super().__init__()
        self._request = request
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        url = settings_of(self._request).web_previews
        with self._place():
            async with _opened(url, f"/preview/{self._name}") as (kind, reader):
                kept = {"Cache-Control": "no-store"}
                passing = StreamingResponse(_pieces(reader), media_type=kind, headers=kept)
                await passing(scope, receive, send)

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        state, limit = self._request.app.state, settings_of(self._request).web_previews_max
        wanted = getattr(state, "watched", 0) + 1
        if wanted > limit:
            raise OverloadedError(
                f"previews would be {wanted}; allowed: {limit} (web_previews_max)",
                budget="previews",
                limit=str(limit),
                wanted=str(wanted),
            )
        state.watched = wanted
        try:
            yield
        finally:
            state.watched -= 1


ROUTES: Final = [
    Route("/v1/cameras", list_cameras),
    Route("/v1/cameras/{name}", watch_camera),
]


async def _require_key(request: Request) -> None:
    """Ask the gateway something cheap.

    Raises:
        UnauthenticatedError: The key does not count.
        ArnoError: The gateway does not answer.
    """
    with contextlib.suppress(UnknownJobError):
        await client_of(request).get(_NO_JOB)


async def _pieces(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    until_s = loop.time() + _WATCHED_S
    with contextlib.suppress(TimeoutError, OSError):
        while loop.time() < until_s:
            piece = await asyncio.wait_for(reader.read(_PIECE_BYTES), _TIMEOUT_S)
            if not piece:
                return
            yield piece


@contextlib.asynccontextmanager
async def _opened(url: str, path: str) -> AsyncIterator[tuple[str, asyncio.StreamReader]]:
    """Ask for a page of the side door; yield its media type and what follows.

    Raises:
        UnavailableError: It does not answer, or has no such page.
    """
    parts = urlsplit(url)
    writer = None
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
            writer.write(f"GET {path} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n".encode())
            await writer.drain()
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
        if writer is not None:
            writer.close()
        raise UnavailableError(f"cameras: {url} does not answer: {error or 'in time'}") from error
    try:
        if first.split(" ")[1:2] != ["200"]:
            raise UnavailableError(f"cameras: {url}{path} answers {first!r}")
        headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
        yield headers.get("content-type", ""), reader
    finally:
        writer.close()
