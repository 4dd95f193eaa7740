"""Read the messages of calls: a limited number at once, each with a time limit.

gRPC reads the message of a unary call before any limit is checked, and waits for a slow one as long
as the call lasts: with ten thousand callers and 20 MB each, 200 GB. Therefore the server takes
every call as a stream, and its message is read here; until its turn it stays in the buffers of its
sender.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from arno.errors import DeadlineExceededError, InvalidFieldError, OverloadedError
from arno.gateway.fair_slots import FairSlots
from arno.gateway.settings import GatewayLimits


class RequestReader:
    """Reads the messages of calls. Lives in one asyncio loop."""

    def __init__(self, limits: GatewayLimits, *, tenant_share: float = 1.0) -> None:
        """Take `receives_max`, `receive_timeout_s` and the retry delay of a refusal.

        Args:
            limits: The gateway's.
            tenant_share: Part of `receives_max` for the messages of one tenant.
        """
        self._slots = FairSlots(limits.receives_max, tenant_share=tenant_share)
        self._timeout_s = limits.receive_timeout_s
        self._retry_delay_s = limits.overload_retry_s

    async def read_only(self, messages: AsyncIterator[Any], *, tenant: str) -> Any:
        """Return the one message of a unary call, which waits for its turn by tenant.

        Raises:
            OverloadedError: No slot became free in time. Retryable.
            DeadlineExceededError: The message did not arrive in time.
            InvalidFieldError: The call ended without a message.
        """
        async with self._slot(tenant):
            return await read_first(messages, field="request", timeout_s=self._timeout_s)

    @asynccontextmanager
    async def _slot(self, tenant: str) -> AsyncIterator[None]:
        async with AsyncExitStack() as held:
            try:
                slot = self._slots.hold(tenant, timeout_s=self._timeout_s)
                await held.enter_async_context(slot)
            except TimeoutError as late:
                raise OverloadedError(
                    f"the gateway is full: it receives {self._slots.used_count} messages already; "
                    f"allowed: {self._slots.count} (receives_max), and a part of them for a tenant",
                    retry_delay_s=self._retry_delay_s,
                    budget="messages received at once",
                    limit=str(self._slots.count),
                ) from late
            yield


async def read_first(messages: AsyncIterator[Any], *, field: str, timeout_s: float) -> Any:
    """Return the first message of a call; `field` names it in errors.

    Raises:
        DeadlineExceededError: The message did not arrive in time.
        InvalidFieldError: The call ended without a message.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await anext(messages)
    except StopAsyncIteration as end:
        raise InvalidFieldError(field=field, problem="the call ended without it") from end
    except TimeoutError as late:
        raise DeadlineExceededError(
            f"{field}: not received within {timeout_s:g} s", field=field, limit=f"{timeout_s:g} s"
        ) from late


class Messages:
    """The messages of a call; a message is not referenced once it has been returned.

    gRPC's own iterator, and any generator, keeps the last message until the next has come; and
    gRPC's is part of a reference cycle, so that it keeps it until a garbage collection. An image
    may be 16 MiB.
    """

    def __init__(self, context: Any) -> None:
        """Take the call's `grpc.aio.ServicerContext`."""
        self._context = context

    def __aiter__(self) -> AsyncIterator[Any]:
        """Return itself."""
        return self

    async def __anext__(self) -> Any:
        """Return the next message.

        Raises:
            InvalidFieldError: It could not be parsed.
        """
        message = await self._context.read()
        if message is grpc.aio.EOF:
            raise StopAsyncIteration
        if isinstance(message, _Malformed):
            raise InvalidFieldError(
                field="request",
                problem="not a message of this method",
                limit="its protobuf encoding",
            )
        return message


class _Malformed:
    """Stands for a message that could not be parsed."""


def tolerant_deserializer(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Return a deserializer that never raises: `Messages` raises in its place.

    An exception in a deserializer would reach the client as UNKNOWN, without a reason.
    """

    def read(content: bytes) -> Any:
        try:
            message = deserialize(content)
        except DecodeError:
            return _Malformed()
        # Fields that this version does not know must not travel on in records.
        message.DiscardUnknownFields()
        return message

    return read
