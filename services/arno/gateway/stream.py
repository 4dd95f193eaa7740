"""A stream of frames: check its settings, keep its order, apply its policy.

Frames come in, and one result for each of them goes out: in the same order, or as soon as it is
there. A frame uses a slot from its start until its result has been handed on, so that a client that
does not read slows its own stream and no other. A frame is read when it can be started, dropped or
kept waiting; until then it stays in the buffer of its sender. How a frame is answered is passed in.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Protocol

from arno.api.v1 import vision_pb2
from arno.errors import DeadlineExceededError, InvalidFieldError, OverloadedError
from arno.gateway.lifecycle import Drain
from arno.gateway.settings import GatewayLimits, StreamLimits
from arno.gateway.task_validation import parse_tasks
from arno.vocabulary import Lane, StreamPolicy, TaskSpec
from arno.vocabulary.wire import lane_from_wire, policy_from_wire, policy_to_wire

_NO_FRAME: Final = vision_pb2.Frame()

_IN_FLIGHT_MAX: Final = 64
_EVERY_MAX: Final = 2**31 - 1
_FRAME_TIMEOUT_MS_MAX: Final = 600_000
_FRAME_TIMEOUT_MS: Final = 30_000


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """The checked settings of one stream.

    Attributes:
        tasks: Run on every frame.
        lane: Priority class.
        policy: Which frames are dropped.
        every: For ``EVERY``: answer every N-th frame, starting with the first.
        in_flight_max: Frames open at once.
        frame_timeout_s: Time limit of a frame.
        ordered: Whether results go out in the order of the frames.
    """

    tasks: tuple[TaskSpec, ...]
    lane: Lane
    policy: StreamPolicy
    every: int
    in_flight_max: int
    frame_timeout_s: float
    ordered: bool = True


def check_stream_config(
    config: vision_pb2.StreamConfig, *, limits: GatewayLimits
) -> StreamSettings:
    """Return the settings of a stream.

    Raises:
        InvalidFieldError: Names the first invalid field. Not retryable.
        LimitExceededError: The same for sizes. Not retryable.
    """
    in_flight_max = limits.stream_in_flight_default
    if config.HasField("in_flight_max"):
        in_flight_max = _in_range("in_flight_max", config.in_flight_max, _IN_FLIGHT_MAX)
    timeout_ms = _FRAME_TIMEOUT_MS
    if config.HasField("frame_timeout_ms"):
        timeout_ms = _in_range("frame_timeout_ms", config.frame_timeout_ms, _FRAME_TIMEOUT_MS_MAX)
    return StreamSettings(
        tasks=parse_tasks(config.tasks, limits=limits, field="config.tasks"),
        lane=lane_from_wire(config.lane, default=Lane.STREAM, field="config.lane"),
        policy=policy_from_wire(config.policy, field="config.policy"),
        every=_in_range("every", config.every, _EVERY_MAX) if config.HasField("every") else 1,
        in_flight_max=in_flight_max,
        frame_timeout_s=timeout_ms / 1000,
        ordered=not config.unordered,
    )


def _in_range(name: str, value: int, highest: int) -> int:
    if 1 <= value <= highest:
        return value
    raise InvalidFieldError(
        field=f"config.{name}", problem="out of range", limit=f"1 to {highest}", sent=str(value)
    )


class AnswerFrame(Protocol):
    """Answers a frame; raises nothing unless it is cancelled."""

    def __call__(
        self, frame: vision_pb2.Frame, *, previous: int | None
    ) -> Coroutine[Any, Any, vision_pb2.InferStreamResponse]:
        """Return the outcome of the frame, given the number of the one before it."""


@dataclass(slots=True)
class _Entry:
    """One frame in the queue.

    Attributes:
        response: The outcome of the frame.
        frame: Empty once it has been started or dropped: a queue of images would be large.
        previous: The number of the frame before it.
        holds_slot: Whether it uses a slot.
        release: Releases the bytes that it takes while it waits for a slot.
    """

    response: asyncio.Future[vision_pb2.InferStreamResponse]
    frame: vision_pb2.Frame
    previous: int | None
    holds_slot: bool = False
    release: Callable[[], None] | None = None

    def release_bytes(self) -> None:
        """Release the bytes that it took while it waited. Idempotent."""
        if self.release is not None:
            self.release()
            self.release = None


class FrameStream:
    """One stream. Lives in one asyncio loop; ``responses`` is called once."""

    def __init__(
        self,
        settings: StreamSettings,
        *,
        answer: AnswerFrame,
        reserve_bytes: Callable[[int], Callable[[], None]],
        limits: StreamLimits,
        drain: Drain,
    ) -> None:
        """Take the settings and the parts.

        Args:
            settings: The stream's own.
            answer: Answers a frame.
            reserve_bytes: Reserves the bytes of a frame that waits for a slot, and returns what
                releases them; raises OverloadedError where the budget is exhausted.
            limits: How many frames may be queued, and how long none may come.
            drain: The gateway's.
        """
        self._idle_s = limits.stream_idle_s
        self._settings = settings
        self._answer = answer
        self._reserve_bytes = reserve_bytes
        self._drain = drain
        # In order: all entries; else those whose response is there.
        self._queue: deque[_Entry] = deque()
        self._queued = asyncio.Event()
        self._entry_count = 0
        self._backlog = asyncio.Semaphore(limits.stream_backlog_max)
        self._free_slots = settings.in_flight_max
        self._waiting: _Entry | None = None
        self._slot_freed = asyncio.Event()
        self._open: set[asyncio.Task[vision_pb2.InferStreamResponse]] = set()
        self._reading = True
        self._frame_count = 0
        self._previous: int | None = None

    async def responses(
        self, requests: AsyncIterator[vision_pb2.InferStreamRequest]
    ) -> AsyncIterator[vision_pb2.InferStreamResponse]:
        """Yield one response for each frame, in their order.

        When the client ends its side, or the gateway drains, the open frames are still answered.
        After a drain the stream then ends with DrainingError.

        Raises:
            InvalidFieldError: A message held no frame; frames before it are answered first.
            DeadlineExceededError: No frame came for too long; those before are answered first.
            DrainingError: This gateway is shutting down.
        """
        reader = asyncio.create_task(self._read_until_drain(requests))
        try:
            while (entry := await self._next()) is not None:
                yield await entry.response
                self._leave(entry)
            await reader
        finally:
            # The client has left, or all frames are answered. Cancelled frames cancel their jobs.
            reader.cancel()
            for task in self._open:
                task.cancel()
            await asyncio.gather(reader, *self._open, return_exceptions=True)
            if self._waiting is not None:
                self._waiting.release_bytes()

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
            self._queued.set()

    async def _read(self, requests: AsyncIterator[vision_pb2.InferStreamRequest]) -> None:
        # One call a frame, so that no variable holds a frame while the next one is waited for.
        while await self._read_one(requests):
            pass

    async def _read_one(self, requests: AsyncIterator[vision_pb2.InferStreamRequest]) -> bool:
        await self._backlog.acquire()
        if self._needs_slot():
            while not self._free_slots:
                self._slot_freed.clear()
                await self._slot_freed.wait()
        request = await self._next_request(requests)
        if request is None:
            return False
        if request.WhichOneof("payload") != "frame":
            problem = "each message after the first must hold a frame"
            sent = request.WhichOneof("payload") or "nothing"
            raise InvalidFieldError(field="frame", problem=problem, sent=sent)
        self._join(request.frame)
        return True

    def _needs_slot(self) -> bool:
        """Return whether the next frame must be started: it may neither be dropped nor wait."""
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
        """Put a frame into the queue, and start, drop or keep it as the policy demands."""
        response = asyncio.get_running_loop().create_future()
        entry = _Entry(response, frame, previous=self._previous)
        self._previous = frame.sequence
        self._entry_count += 1
        if self._settings.ordered:
            self._enqueue(entry)
        if self._left_out():
            self._drop(entry)
        elif self._free_slots:
            self._free_slots -= 1
            self._start(entry)
        else:
            self._wait(entry)
        self._frame_count += 1

    def _wait(self, entry: _Entry) -> None:
        """Keep a frame waiting in place of the one before it; drop it if no bytes are left."""
        if self._waiting is not None:
            self._drop(self._waiting)
            self._waiting = None
        try:
            entry.release = self._reserve_bytes(entry.frame.ByteSize())
        except OverloadedError:
            self._drop(entry)
        else:
            self._waiting = entry

    def _enqueue(self, entry: _Entry) -> None:
        self._queue.append(entry)
        self._queued.set()

    async def _next(self) -> _Entry | None:
        """Return the entry whose response goes out next; None after the last."""
        while not self._queue:
            if not self._reading and not self._entry_count:
                return None
            self._queued.clear()
            await self._queued.wait()
        self._entry_count -= 1
        return self._queue.popleft()

    def _leave(self, entry: _Entry) -> None:
        """Free the slot of a frame that has been answered; the waiting frame takes it."""
        self._backlog.release()
        if not entry.holds_slot:
            return
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            self._start(waiting)
            return
        self._free_slots += 1
        self._slot_freed.set()

    def _start(self, entry: _Entry) -> None:
        entry.release_bytes()
        task = asyncio.create_task(self._answer(entry.frame, previous=entry.previous))
        entry.frame = _NO_FRAME
        entry.holds_slot = True
        entry.response = task
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        if not self._settings.ordered:
            task.add_done_callback(lambda _: self._enqueue(entry))

    def _drop(self, entry: _Entry) -> None:
        entry.release_bytes()
        entry.response.set_result(
            vision_pb2.InferStreamResponse(
                sequence=entry.frame.sequence,
                timestamp_ms=entry.frame.timestamp_ms,
                dropped=vision_pb2.DroppedFrame(policy=policy_to_wire(self._settings.policy)),
            )
        )
        entry.frame = _NO_FRAME
        if not self._settings.ordered:
            self._enqueue(entry)
