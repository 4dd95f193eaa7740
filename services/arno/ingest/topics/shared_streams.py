"""Ask about many images by few streams: a message an image costs half of what a call costs.

Images share streams of the gateway, which answers each as soon as it can. Streams only save time:
where none is to be had, for a large image, and for images that a stream has left unanswered, calls
are made. So what happens to a stream as a whole is no fault of its images.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable
from typing import Final, Protocol

from arno.client import Frame, FrameResult, StreamOptions, TaskRequest
from arno.errors import ArnoError, BackendUnavailableError
from arno.ingest.topics.asker import Question
from arno.ops.clock import SYSTEM_CLOCK, Clock
from arno.vocabulary.results import InferResult

logger = logging.getLogger(__name__)

IN_FLIGHT_MAX: Final = 64
"""Images on one stream: the gateway's own limit."""

_IMAGE_BYTES_MAX: Final = 1024**2
"""Larger images go alone: they gain nothing, and one that is above the gateway's limit for messages
would end the stream of all others."""

_LIFE_S: Final = 60.0
"""A stream stays with the gateway that took it; so new streams are opened now and then, which find
gateways that were added."""

_SILENCE_S: Final = 5.0
"""The gateway answers every image within its time limit. One that is so much later answers none."""

_REFUSED_PAUSE_S: Final = 10.0
"""How long only calls are made once a stream has been refused."""


class Client(Protocol):
    """`AsyncClient`, as far as it is used here."""

    def infer(
        self,
        image: bytes,
        *tasks: TaskRequest,
        lane: str | None,
        idempotency_key: str,
        timeout_s: float | None,
    ) -> Awaitable[InferResult]:
        """Run the tasks on one image."""

    def infer_stream(
        self, frames: AsyncIterator[Frame], *tasks: TaskRequest, options: StreamOptions
    ) -> AsyncIterator[FrameResult]:
        """Run the tasks on every frame."""


class SharedStreams:
    """Asks one question about many images. Lives in one asyncio loop."""

    def __init__(
        self,
        client: Client,
        question: Question,
        *,
        in_flight_max: int,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Take the question; no stream is opened yet.

        Args:
            client: Of the gateway.
            question: What is asked about every image.
            in_flight_max: How many images are asked about at once; decides how many streams.
            clock: Tells how old streams are.
        """
        self._client = client
        self._question = question
        self._streams_max = -(-in_flight_max // IN_FLIGHT_MAX)
        self._clock = clock
        self._streams: list[_Stream] = []
        self._refused_s = float("-inf")

    async def infer(self, image: bytes, idempotency_key: str) -> InferResult:
        """Return the answer to one image.

        Raises:
            ArnoError: The image was refused, or failed, or the gateway is away.
        """
        stream = None if len(image) > _IMAGE_BYTES_MAX else self._free_stream()
        if stream is not None:
            try:
                return await stream.infer(image, idempotency_key)
            except _StreamEndedError:
                if stream.refused:
                    self._refused_s = self._clock.monotonic_s()
        return await self._client.infer(
            image,
            *self._question.tasks,
            lane=self._question.lane,
            idempotency_key=idempotency_key,
            timeout_s=self._question.timeout_s,
        )

    async def close(self) -> None:
        """End the streams; what they have not answered is cancelled. Idempotent."""
        await asyncio.gather(*(stream.close() for stream in self._streams))

    def _free_stream(self) -> _Stream | None:
        """Return a stream that takes one more image; None where there is none."""
        now_s = self._clock.monotonic_s()
        for stream in self._streams:
            if now_s - stream.opened_s >= _LIFE_S:
                stream.end()
        self._streams = [stream for stream in self._streams if not stream.over]
        taking = [stream for stream in self._streams if not stream.ending]
        free = next((stream for stream in taking if stream.open_count < IN_FLIGHT_MAX), None)
        rested = now_s - self._refused_s >= _REFUSED_PAUSE_S
        if free is None and len(taking) < self._streams_max and rested:
            free = _Stream(self._client, self._question, opened_s=now_s)
            self._streams.append(free)
        return free


class _StreamEndedError(Exception):
    """A stream ended before it had answered an image."""


class _Stream:
    """One stream, and the images on it. Lives in one asyncio loop."""

    def __init__(self, client: Client, question: Question, *, opened_s: float) -> None:
        self.opened_s = opened_s
        self.ending = False
        self.refused = False
        self._timeout_s = question.timeout_s + _SILENCE_S
        self._numbers = itertools.count()
        self._unsent: asyncio.Queue[Frame | None] = asyncio.Queue()
        self._open: dict[int, asyncio.Future[InferResult]] = {}
        self._answered = False
        results = client.infer_stream(
            self._frames(),
            *question.tasks,
            options=StreamOptions(
                policy="all",
                in_flight_max=IN_FLIGHT_MAX,
                frame_timeout_s=question.timeout_s,
                lane=question.lane,
                unordered=True,
            ),
        )
        self._task = asyncio.create_task(self._run(results), name="stream of images")

    @property
    def open_count(self) -> int:
        """Images that are not answered."""
        return len(self._open)

    @property
    def over(self) -> bool:
        """Whether it answers no more."""
        return self._task.done()

    async def infer(self, image: bytes, idempotency_key: str) -> InferResult:
        """Return the answer to one image.

        Raises:
            ArnoError: The image failed, or the gateway is silent.
            _StreamEndedError: The stream as a whole has ended.
        """
        number = next(self._numbers)
        answer: asyncio.Future[InferResult] = asyncio.get_running_loop().create_future()
        self._open[number] = answer
        self._unsent.put_nowait(Frame(image, number, idempotency_key=idempotency_key))
        try:
            async with asyncio.timeout(self._timeout_s):
                return await answer
        except TimeoutError:
            # All others would wait as long.
            self._task.cancel()
            sentence = f"the gateway has not answered within {self._timeout_s:g} s"
            raise BackendUnavailableError(sentence) from None
        finally:
            self._open.pop(number, None)

    def end(self) -> None:
        """Send no more; what was sent is still answered. Idempotent."""
        if not self.ending:
            self.ending = True
            self._unsent.put_nowait(None)

    async def close(self) -> None:
        """Give up what is not answered. Idempotent."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, results: AsyncIterator[FrameResult]) -> None:
        try:
            async for result in results:
                self._answered = True
                self._settle(result)
        except ArnoError as error:
            self.refused = not self._answered
            if self._open:
                logger.info("a stream of %d images has ended: %s", len(self._open), error)
        finally:
            self.ending = True
            for answer in self._open.values():
                if not answer.done():
                    answer.set_exception(_StreamEndedError())

    async def _frames(self) -> AsyncIterator[Frame]:
        while (frame := await self._unsent.get()) is not None:
            yield frame

    def _settle(self, result: FrameResult) -> None:
        answer = self._open.pop(result.sequence, None)
        if answer is None or answer.done():
            return
        if isinstance(result.outcome, InferResult):
            answer.set_result(result.outcome)
        elif result.outcome is not None:
            answer.set_exception(result.outcome)
        else:
            # Dropped, which the policy rules out.
            answer.set_exception(_StreamEndedError())
