"""Receive the messages of calls, so many at once and none for ever.

gRPC reads the message of a unary call before anybody is asked whether there is room for it, and
waits for a slow one as long as the call lasts: of ten thousand callers with 20 MB each, 200 GB. So
the server takes every call as a stream, and its message is pulled here; those whose turn has not
come stay in their senders' buffers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from arno.errors import DeadlineExceededError, InvalidFieldError, OverloadedError


class Receiving:
    """The messages that are being received. Lives in one asyncio loop."""

    def __init__(self, *, at_once_max: int, timeout_s: float, retry_delay_s: float) -> None:
        """Take the limits.

        Args:
            at_once_max: Messages of unary calls that are read at once; the others wait, unread.
            timeout_s: How long a message may take to arrive, and how long it waits for its turn.
            retry_delay_s: What callers are told whose turn did not come.
        """
        self._at_once_max = at_once_max
        self._places = asyncio.Semaphore(at_once_max)
        self._timeout_s = timeout_s
        self._retry_delay_s = retry_delay_s

    async def only(self, messages: AsyncIterator[Any]) -> Any:
        """Return the one message of a unary call.

        Raises:
            OverloadedError: Its turn did not come in time. Retryable.
            DeadlineExceededError: It came too slowly.
            InvalidFieldError: The call ended without one.
        """
        async with self._turn():
            return await self.first(messages, field="request")

    async def first(self, messages: AsyncIterator[Any], *, field: str) -> Any:
        """Return the first message of a stream.

        Raises:
            DeadlineExceededError: It came too slowly.
            InvalidFieldError: The call ended without one.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await anext(messages)
        except StopAsyncIteration as end:
            raise InvalidFieldError(field=field, problem="the call ended without it") from end
        except TimeoutError as late:
            raise DeadlineExceededError(
                f"{field}: not received within {self._timeout_s:g} s",
                field=field,
                limit=f"{self._timeout_s:g} s",
            ) from late

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._places.acquire()
        except TimeoutError as late:
            raise OverloadedError(
                f"the gateway is full: it receives {self._at_once_max} messages already",
                retry_delay_s=self._retry_delay_s,
                budget="messages received at once",
                limit=str(self._at_once_max),
            ) from late
        try:
            yield
        finally:
            self._places.release()
