"""Turn a caller's frames into the messages of a stream."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator

from arno.api.v1 import vision_pb2
from arno.client.requests import FrameLike, frame_message


class FrameSource:
    """Makes the messages of one stream. A source that breaks ends the stream, and `check` says why.

    gRPC reads the messages on a thread of its own and only logs what they raise, so the error is
    kept until the results of the frames before it have been handed out.
    """

    def __init__(
        self,
        first: vision_pb2.InferStreamRequest,
        frames: Iterable[FrameLike] | AsyncIterable[FrameLike],
    ) -> None:
        """Take the stream's settings and its frames."""
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
        """Yield the settings, then the frames, of an asynchronous or a plain iterable."""
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
        """Raise what the frames raised, if they did."""
        if self._failure is not None:
            raise self._failure

    def _message(self, frame: FrameLike) -> vision_pb2.InferStreamRequest:
        message = frame_message(frame, next_sequence=self._next_sequence)
        self._next_sequence = message.frame.sequence + 1
        return message
