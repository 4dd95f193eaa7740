"""Keep a stream's order and its policy: frames in, one result for each of them out, in that order.

A frame is open from its start until its result has been handed on, so that a client that does not
read slows its own stream and no other. A frame is read when it has somewhere to go, and not before:
until then it stays in its sender's buffer. Knows nothing of how a frame is answered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Protocol

from arno.api.v1 import vision_pb2
from arno.errors import DeadlineExceededError, InvalidFieldError, OverloadedError
from arno.gateway.drain import Drain
from arno.gateway.settings import StreamLimits
from arno.gateway.stream_settings import StreamSettings
from arno.vocabulary import StreamPolicy
from arno.vocabulary.wire import policy_to_wire

_NO_FRAME: Final = vision_pb2.Frame()


class AnswerFrame(Protocol):
    """Answers a frame; never raises but when it is cancelled."""

    def __call__(
        self, frame: vision_pb2.Frame, *, previous: int | None
    ) -> Coroutine[Any, Any, vision_pb2.InferStreamResponse]:
        """Return the outcome of the frame, given the number of the one before it."""


@dataclass(slots=True)
class _Entry:
    """One frame in the line.

    Attributes:
        response: What it ends with.
        frame: Empty once it needs no place any more: a line of images would be a lot.
        previous: The number of the frame before it.
        holds_place: Whether it is open.
        give_back: Returns the room that it takes while it waits for a place.
    """

    response: asyncio.Future[vision_pb2.InferStreamResponse]
    frame: vision_pb2.Frame
    previous: int | None
    holds_place: bool = False
    give_back: Callable[[], None] | None = None

    def leave_room(self) -> None:
        """Give back the room that it took while it waited. Idempotent."""
        if self.give_back is not None:
            self.give_back()
            self.give_back = None


class FrameStream:
    """One stream. Lives in one asyncio loop; ``responses`` is called once."""

    def __init__(
        self,
        settings: StreamSettings,
        *,
        answer: AnswerFrame,
        keep: Callable[[int], Callable[[], None]],
        limits: StreamLimits,
        drain: Drain,
    ) -> None:
        """Take what the stream works with.

        Args:
            settings: The stream's own.
            answer: Answers a frame.
            keep: Finds room for so many bytes that wait for a place, and returns what gives it
                back; raises OverloadedError where there is none.
            limits: How many frames may wait, and how long there may be none.
            drain: The gateway's.
        """
        self._idle_s = limits.stream_idle_s
        self._settings = settings
        self._answer = answer
        self._keep = keep
        self._drain = drain
        self._line: deque[_Entry] = deque()
        self._backlog = asyncio.Semaphore(limits.stream_backlog_max)
        self._places = settings.in_flight_max
        self._waiting: _Entry | None = None
        self._changed = asyncio.Condition()
        self._open: set[asyncio.Task[vision_pb2.InferStreamResponse]] = set()
        self._reading = True
        self._frame_count = 0
        self._previous: int | None = None

    async def responses(
        self, requests: AsyncIterator[vision_pb2.InferStreamRequest]
    ) -> AsyncIterator[vision_pb2.InferStreamResponse]:
        """Yield one response for each frame, in their order.

        When the client ends its side, the open frames are still answered. When the gateway drains
        as well, and then the stream ends with DrainingError.

        Raises:
            InvalidFieldError: A message held no frame; frames before it are answered first.
            DeadlineExceededError: No frame came for too long; those before are answered first.
            DrainingError: This gateway is leaving.
        """
        reader = asyncio.create_task(self._read_until_drain(requests))
        try:
            while (entry := await self._next()) is not None:
                yield await entry.response
                await self._leave(entry)
            await reader
        finally:
            # The client is gone, or all is answered. Cancelled frames cancel their jobs.
            reader.cancel()
            for pump in self._open:
                pump.cancel()
            await asyncio.gather(reader, *self._open, return_exceptions=True)
            if self._waiting is not None:
                self._waiting.leave_room()

    async def _read_until_drain(
        self, requests: AsyncIterator[vision_pb2.InferStreamRequest]
    ) -> None:
        reader = asyncio.create_task(self._read(requests))
        drain = asyncio.create_task(self._drain.wait())
        try:
            await asyncio.wait({reader, drain}, return_when=asyncio.FIRST_COMPLETED)
            if not reader.done():
                raise self._drain.refusal()
            await reader
        finally:
            reader.cancel()
            drain.cancel()
            await asyncio.gather(reader, drain, return_exceptions=True)
            self._reading = False
            async with self._changed:
                self._changed.notify_all()

    async def _read(self, requests: AsyncIterator[vision_pb2.InferStreamRequest]) -> None:
        # One call a frame, so that no variable holds a frame while the next one is waited for.
        while await self._read_one(requests):
            pass

    async def _read_one(self, requests: AsyncIterator[vision_pb2.InferStreamRequest]) -> bool:
        await self._backlog.acquire()
        if self._needs_place():
            async with self._changed:
                await self._changed.wait_for(lambda: self._places > 0)
        request = await self._next_request(requests)
        if request is None:
            return False
        if request.WhichOneof("payload") != "frame":
            problem = "each message after the first must hold a frame"
            sent = request.WhichOneof("payload") or "nothing"
            raise InvalidFieldError(field="frame", problem=problem, sent=sent)
        self._join(request.frame)
        async with self._changed:
            self._changed.notify_all()
        return True

    def _needs_place(self) -> bool:
        """Whether the next frame can only be started: it may neither be dropped nor wait."""
        return self._settings.policy is not StreamPolicy.LATEST and not self._left_out()

    def _left_out(self) -> bool:
        every = self._settings.policy is StreamPolicy.EVERY
        return every and self._frame_count % self._settings.every != 0

    async def _next_request(
        self, requests: AsyncIterator[vision_pb2.InferStreamRequest]
    ) -> vision_pb2.InferStreamRequest | None:
        try:
            async with asyncio.timeout(self._idle_s):
                return await anext(requests, None)
        except TimeoutError as late:
            raise DeadlineExceededError(
                f"frame: none was sent for {self._idle_s:g} s", field="frame"
            ) from late

    def _join(self, frame: vision_pb2.Frame) -> None:
        """Put a frame in the line, as the policy says."""
        response = asyncio.get_running_loop().create_future()
        entry = _Entry(response, frame, previous=self._previous)
        self._previous = frame.sequence
        if self._left_out():
            self._drop(entry)
        elif self._places:
            self._places -= 1
            self._start(entry)
        else:
            self._wait(entry)
        self._frame_count += 1
        self._line.append(entry)

    def _wait(self, entry: _Entry) -> None:
        """Let a frame wait in place of the one that does, or drop it too where it has no room."""
        if self._waiting is not None:
            self._drop(self._waiting)
            self._waiting = None
        try:
            entry.give_back = self._keep(entry.frame.ByteSize())
        except OverloadedError:
            self._drop(entry)
        else:
            self._waiting = entry

    async def _next(self) -> _Entry | None:
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._line) or not self._reading)
        return self._line.popleft() if self._line else None

    async def _leave(self, entry: _Entry) -> None:
        """Give back what the frame held; the waiting frame takes its place."""
        self._backlog.release()
        if not entry.holds_place:
            return
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            self._start(waiting)
            return
        async with self._changed:
            self._places += 1
            self._changed.notify_all()

    def _start(self, entry: _Entry) -> None:
        entry.leave_room()
        pump = asyncio.create_task(self._answer(entry.frame, previous=entry.previous))
        entry.frame = _NO_FRAME
        entry.holds_place = True
        entry.response = pump
        self._open.add(pump)
        pump.add_done_callback(self._open.discard)

    def _drop(self, entry: _Entry) -> None:
        entry.leave_room()
        entry.response.set_result(
            vision_pb2.InferStreamResponse(
                sequence=entry.frame.sequence,
                timestamp_ms=entry.frame.timestamp_ms,
                dropped=vision_pb2.DroppedFrame(policy=policy_to_wire(self._settings.policy)),
            )
        )
        entry.frame = _NO_FRAME
