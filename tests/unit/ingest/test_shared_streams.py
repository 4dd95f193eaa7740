"""Which images go on which stream, and which are asked about by a call, with a scripted gateway."""

from __future__ import annotations

import asyncio

import pytest
from arno.api.v1 import vision_pb2
from arno.client import Frame, FrameResult
from arno.errors import (
    BackendUnavailableError,
    DrainingError,
    EngineError,
    InvalidImageError,
    QuotaExceededError,
)
from arno.ingest.topics import shared_streams
from arno.ingest.topics.asker import Question
from arno.ingest.topics.shared_streams import IN_FLIGHT_MAX, SharedStreams
from arno.vocabulary.results import InferResult
from support.clock import ManualClock

ANSWER = object.__new__(InferResult)
QUESTION = Question([], "batch", timeout_s=30.0, attempts_max=3)
REFUSAL = QuotaExceededError(quota="streams_open", limit="1", retry_delay_s=1.0)


class Stream:
    """One stream as the gateway sees it; it answers and ends when the test says."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.ended = False
        self.results: asyncio.Queue[FrameResult | Exception | None] = asyncio.Queue()

    def answer(self, number: int, outcome: object = ANSWER) -> None:
        message = vision_pb2.InferStreamResponse()
        self.results.put_nowait(FrameResult(number, 0, outcome, message))


class Gateway:
    """Keeps the streams and calls; ``refusal`` is what new streams fail with."""

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self.called: list[str] = []
        self.options: list[object] = []
        self.refusal: Exception | None = None

    async def infer(self, image, *tasks, lane, idempotency_key, timeout_s):
        self.called.append(idempotency_key)
        return ANSWER

    async def infer_stream(self, frames, *tasks, options):
        stream = Stream()
        self.streams.append(stream)
        self.options.append(options)
        if self.refusal is not None:
            raise self.refusal
        reader = asyncio.create_task(self._read(stream, frames))
        try:
            while (result := await stream.results.get()) is not None:
                if isinstance(result, Exception):
                    raise result
                yield result
        finally:
            reader.cancel()

    async def _read(self, stream, frames):
        async for frame in frames:
            stream.frames.append(frame)
        stream.ended = True
        stream.results.put_nowait(None)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Asked:
    """Streams, and the images that are asked about."""

    def __init__(self, in_flight_max: int = IN_FLIGHT_MAX) -> None:
        self.gateway = Gateway()
        self.clock = ManualClock()
        self.streams = SharedStreams(
            self.gateway, QUESTION, in_flight_max=in_flight_max, clock=self.clock
        )

    async def ask(self, *keys: str, image: bytes = b"image") -> list[asyncio.Task[InferResult]]:
        asks = [asyncio.create_task(self.streams.infer(image, key)) for key in keys]
        await settle()
        return asks


async def test_images_share_a_stream_and_are_answered_in_any_order():
    asked = Asked()
    first, second = await asked.ask("a", "b")
    (stream,) = asked.gateway.streams
    assert [(one.sequence, one.idempotency_key) for one in stream.frames] == [(0, "a"), (1, "b")]
    assert asked.gateway.options[0].unordered
    stream.answer(1)
    assert await second is ANSWER
    assert not first.done()
    stream.answer(0)
    assert await first is ANSWER
    assert asked.gateway.called == []
    await asked.streams.close()


async def test_image_that_fails_fails_alone():
    asked = Asked()
    first, second = await asked.ask("a", "b")
    asked.gateway.streams[0].answer(0, EngineError("failed"))
    asked.gateway.streams[0].answer(1)
    assert await second is ANSWER
    with pytest.raises(EngineError):
        await first
    await asked.streams.close()


async def test_further_images_go_on_a_further_stream_and_then_by_calls():
    asked = Asked(in_flight_max=2 * IN_FLIGHT_MAX)
    asks = await asked.ask(*(str(number) for number in range(2 * IN_FLIGHT_MAX + 1)))
    assert [len(one.frames) for one in asked.gateway.streams] == [IN_FLIGHT_MAX] * 2
    assert asked.gateway.called == [str(2 * IN_FLIGHT_MAX)]
    await asked.streams.close()
    await asyncio.gather(*asks, return_exceptions=True)


async def test_large_image_is_asked_about_by_a_call():
    asked = Asked()
    (ask,) = await asked.ask("a", image=bytes(1024**2 + 1))
    assert await ask is ANSWER
    assert asked.gateway.called == ["a"]
    assert asked.gateway.streams == []


async def test_images_of_a_stream_that_ends_are_asked_about_by_calls_with_the_same_keys():
    asked = Asked()
    answered, left = await asked.ask("a", "b")
    asked.gateway.streams[0].answer(0)
    await answered
    asked.gateway.streams[0].results.put_nowait(DrainingError("leaves"))
    assert await left is ANSWER
    assert asked.gateway.called == ["b"]
    await asked.ask("c")
    assert [one.idempotency_key for one in asked.gateway.streams[1].frames] == ["c"]
    await asked.streams.close()


async def test_stream_that_is_refused_is_not_tried_again_for_some_seconds():
    asked = Asked()
    asked.gateway.refusal = REFUSAL
    await asyncio.gather(*await asked.ask("a", "b"))
    await asyncio.gather(*await asked.ask("c"))
    assert asked.gateway.called == ["a", "b", "c"]
    assert len(asked.gateway.streams) == 1
    asked.gateway.refusal = None
    asked.clock.advance(10)
    await asked.ask("d")
    assert asked.gateway.called == ["a", "b", "c"]
    assert len(asked.gateway.streams) == 2
    await asked.streams.close()


async def test_old_stream_takes_no_more_and_is_ended_once_it_has_answered():
    asked = Asked()
    (first,) = await asked.ask("a")
    asked.clock.advance(60)
    (second,) = await asked.ask("b")
    old, new = asked.gateway.streams
    assert (old.ended, new.ended) == (True, False)
    new.answer(0)
    await second
    old.results = asyncio.Queue()
    await asked.streams.close()
    first.cancel()


async def test_image_that_the_gateway_says_nothing_about_ends_its_stream(monkeypatch):
    monkeypatch.setattr(shared_streams, "_SILENCE_S", 0.01 - QUESTION.timeout_s)
    asked = Asked()
    (ask,) = await asked.ask("a")
    with pytest.raises(BackendUnavailableError):
        await ask
    await settle()
    await asked.ask("b")
    assert len(asked.gateway.streams) == 2
    await asked.streams.close()


async def test_asker_that_leaves_does_not_disturb_the_others():
    asked = Asked()
    first, second = await asked.ask("a", "b")
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    asked.gateway.streams[0].answer(0, InvalidImageError(field="frame.image", problem="none"))
    asked.gateway.streams[0].answer(1)
    assert await second is ANSWER
    await asked.streams.close()
