"""Convert the frames of a caller to the messages of a stream."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import TypeAlias

from arno.api.v1 import vision_pb2
from arno.client.requests import FrameLike, frame_message

Frames: TypeAlias = Iterable[FrameLike]
"""The frames of a video, as the blocking client takes them."""

AsyncFrames: TypeAlias = AsyncIterable[FrameLike] | Iterable[FrameLike]
"""The frames of a video, as the asyncio client takes them."""


class FrameSource:
    """The messages of one stream. An exception in the source ends the stream; `check` raises it.

    gRPC reads the messages on a thread of its own and only logs their exceptions. The exception is
    therefore kept until the caller has the results of the frames before it.
    """

    def __init__(self, first: vision_pb2.InferStreamRequest, frames: AsyncFrames) -> None:
        """Keep the message with the stream's settings, which goes first, and the frames."""
        self._first = first
        self._frames = frames
        self._failure: Exception | None = None
        self._next_sequence = 0

    def messages(self) -> Iterator[vision_pb2.InferStreamRequest]:
        """Yield the settings, then the frames."""
        yield self._first
        if not isinstance(self._frames, Iterable):
            self._failure = TypeError("a blocking stream needs a plain iterable of frames")
            return
        try:
            for frame in self._frames:
                yield self._message(frame)
        except Exception as error:  # noqa: BLE001 - `check` raises it on the caller's thread
            self._failure = error

    async def messages_async(self) -> AsyncIterator[vision_pb2.InferStreamRequest]:
        """Yield the settings, then the frames of an asynchronous or a plain iterable."""
        yield self._first
        try:
            if isinstance(self._frames, AsyncIterable):
                async for frame in self._frames:
                    yield self._message(frame)
            else:
                for frame in self._frames:
                    yield self._message(frame)
        except Exception as error:  # noqa: BLE001 - `check` raises it to the caller
            self._failure = error

    def check(self) -> None:
        """Raise the exception that the frames raised, if any."""
        if self._failure is not None:
            raise self._failure

    def _message(self, frame: FrameLike) -> vision_pb2.InferStreamRequest:
        message = frame_message(frame, next_sequence=self._next_sequence)
        self._next_sequence = message.frame.sequence + 1
        return message
