"""Answer with server-sent events, and stop work for callers that hang up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from starlette.types import Receive, Scope, Send

from arno.errors import ArnoError, CancelledError
from arno.web.problems import problem

Value = TypeVar("Value")

_SILENCE_S: Final = 15.0
"""Proxies cut a connection on which nothing comes, most of them after a minute."""

_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    # nginx would collect events otherwise.
    (b"x-accel-buffering", b"no"),
]


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event: its name, empty for none, and its data."""

    name: str
    data: dict[str, Any] | str

    def encode(self) -> bytes:
        """Return it as it is sent. Data is one line: JSON has no line breaks of its own."""
        data = self.data if isinstance(self.data, str) else json.dumps(self.data)
        head = f"event: {self.name}\n" if self.name else ""
        return f"{head}data: {data}\n\n".encode()


class EventResponse:
    """An ASGI response of events; ends when they end, or when the caller hangs up.

    A fault before the first event is answered with its status; a later one becomes an event
    `error` with the problem's details.
    """

    def __init__(self, first: ServerEvent, rest: AsyncIterator[ServerEvent]) -> None:
        """Take the first event and the generator of the others; `start` gives both."""
        self._first = first
        self._rest = rest

    @classmethod
    async def start(cls, receive: Receive, events: AsyncIterator[ServerEvent]) -> EventResponse:
        """Wait for the first event.

        Raises:
            ArnoError: There is none; this is why.
        """
        return cls(await unless_gone(receive, anext_of(events)), events)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all events."""
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        try:
            await unless_gone(receive, self._send_all(send))
        except CancelledError:
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_all(self, send: Send) -> None:
        async def emit(body: bytes) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": True})

        await emit(self._first.encode())
        # Closed here, so that a generator that is left early stops its job.
        async with aclosing(self._rest):  # type: ignore[type-var] # it is a generator
            try:
                async for body in _with_signs_of_life(self._rest):
                    await emit(body)
            except ArnoError as error:
                await emit(ServerEvent("error", problem(error)).encode())


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, Value]) -> Value:
    """Return what the work returns; cancel it when the caller hangs up. The body must be read.

    Raises:
        CancelledError: The caller has gone.
    """
    working, leaving = asyncio.create_task(work), asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise CancelledError("the caller has gone")
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def anext_of(events: AsyncIterator[ServerEvent]) -> ServerEvent:
    """Return the next event."""
    return await anext(events)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _with_signs_of_life(events: AsyncIterator[ServerEvent]) -> AsyncIterator[bytes]:
    """Yield events as they are sent, and comments where none comes for a while."""
    coming = asyncio.create_task(anext_of(events))
    try:
        while True:
            done, _ = await asyncio.wait({coming}, timeout=_SILENCE_S)
            if not done:
                yield b": still here\n\n"
                continue
            try:
                event = coming.result()
            except StopAsyncIteration:
                return
            yield event.encode()
            coming = asyncio.create_task(anext_of(events))
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
