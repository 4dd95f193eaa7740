"""A stream's policies, with frames that end when the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from arno.api.v1 import types_pb2, vision_pb2
from arno.errors import OverloadedError
from arno.gateway.lifecycle import Drain
from arno.gateway.settings import StreamLimits
from arno.gateway.stream import FrameStream, StreamSettings
from arno.vocabulary import Lane, StreamPolicy


def frame(sequence: int) -> vision_pb2.Frame:
    return vision_pb2.Frame(sequence=sequence, image=types_pb2.Image(content=b"x" * 100))


class HandDriven:
    """Frames go in and end by hand; ``settle`` lets everything that can happen happen."""

    def __init__(
        self,
        policy: StreamPolicy,
        *,
        in_flight_max: int = 1,
        backlog_max: int = 99,
        every: int = 1,
        ordered: bool = True,
    ):
        settings = StreamSettings((), Lane.STREAM, policy, every, in_flight_max, 1.0, ordered)
        self.started: dict[int, asyncio.Future[None]] = {}
        self.room_bytes = 1000
        self.kept_bytes = 0
        self.responses: list[vision_pb2.InferStreamResponse] = []
        self._requests: asyncio.Queue[int | None] = asyncio.Queue()
        self._read_count = 0
        stream = FrameStream(
            settings,
            answer=self._answer,
            reserve_bytes=self._reserve,
            limits=StreamLimits(stream_backlog_max=backlog_max, stream_idle_s=60),
            drain=Drain(),
        )
        self.pump = asyncio.create_task(self._collect(stream))

    @property
    def unread_count(self) -> int:
        return self._requests.qsize()

    def send(self, *sequences: int | None) -> None:
        for sequence in sequences:
            self._requests.put_nowait(sequence)

    async def settle(self) -> None:
        # Each turn of the loop runs what is ready; nothing here waits for time or sockets.
        for _ in range(200):
            await asyncio.sleep(0)

    def kinds(self) -> list[tuple[int, str]]:
        return [(one.sequence, one.WhichOneof("outcome")) for one in self.responses]

    def _reserve(self, size_bytes: int) -> Callable[[], None]:
        if self.kept_bytes + size_bytes > self.room_bytes:
            raise OverloadedError("full")
        self.kept_bytes += size_bytes

        def give_back() -> None:
            self.kept_bytes -= size_bytes

        return give_back

    async def _answer(self, frame, *, previous):
        self.started[frame.sequence] = asyncio.get_running_loop().create_future()
        await self.started[frame.sequence]
        return vision_pb2.InferStreamResponse(
            sequence=frame.sequence, response=vision_pb2.InferResponse()
        )

    async def _messages(self):
        while (sequence := await self._requests.get()) is not None:
            yield vision_pb2.InferStreamRequest(frame=frame(sequence))

    async def _collect(self, stream):
        async for response in stream.responses(self._messages()):
            self.responses.append(response)


async def test_latest_drops_all_but_the_newest_waiting_frame():
    stream = HandDriven(StreamPolicy.LATEST)
    stream.send(0, 1, 2, 3)
    await stream.settle()
    assert list(stream.started) == [0]
    stream.started[0].set_result(None)
    await stream.settle()
    assert list(stream.started) == [0, 3]
    assert stream.kinds() == [(0, "response"), (1, "dropped"), (2, "dropped")]
    stream.started[3].set_result(None)
    stream.send(None)
    await stream.pump
    assert stream.kinds()[3:] == [(3, "response")]


async def test_all_reads_no_further_than_in_flight_max():
    stream = HandDriven(StreamPolicy.ALL, in_flight_max=2)
    stream.send(0, 1, 2, 3, None)
    await stream.settle()
    assert list(stream.started) == [0, 1]
    assert stream.unread_count == 3  # frame 2 waits for its place unread
    for sequence in (1, 0, 2, 3):
        stream.started[sequence].set_result(None)
        await stream.settle()
    await stream.pump
    assert stream.kinds() == [(sequence, "response") for sequence in range(4)]


async def test_finished_frame_stays_open_until_those_before_it_are_out():
    stream = HandDriven(StreamPolicy.ALL, in_flight_max=2)
    stream.send(0, 1, 2)
    await stream.settle()
    stream.started[1].set_result(None)
    await stream.settle()
    assert list(stream.started) == [0, 1]
    assert stream.responses == []
    stream.pump.cancel()
    await asyncio.gather(stream.pump, return_exceptions=True)


async def test_backlog_of_dropped_frames_is_bounded():
    stream = HandDriven(StreamPolicy.LATEST, backlog_max=3)
    stream.send(*range(10))
    await stream.settle()
    assert stream.unread_count == 7  # three in the line; the next waits unread
    stream.pump.cancel()
    await asyncio.gather(stream.pump, return_exceptions=True)


async def test_leaving_client_cancels_the_open_frames():
    stream = HandDriven(StreamPolicy.ALL, in_flight_max=2)
    stream.send(0, 1)
    await stream.settle()
    stream.pump.cancel()
    await asyncio.gather(stream.pump, return_exceptions=True)
    assert all(frame.cancelled() for frame in stream.started.values())


async def test_waiting_frame_takes_room_until_it_starts():
    stream = HandDriven(StreamPolicy.LATEST)
    stream.send(0)
    await stream.settle()
    assert stream.kept_bytes == 0  # it is open: what answers it counts it
    stream.send(1, 2)
    await stream.settle()
    assert stream.kept_bytes == frame(2).ByteSize()
    stream.started[0].set_result(None)
    await stream.settle()
    assert stream.kept_bytes == 0
    stream.pump.cancel()
    await asyncio.gather(stream.pump, return_exceptions=True)


async def test_frame_for_which_there_is_no_room_is_dropped_like_those_that_wait_too_long():
    stream = HandDriven(StreamPolicy.LATEST)
    stream.room_bytes = 50
    stream.send(0, 1, None)
    await stream.settle()
    stream.started[0].set_result(None)
    await stream.pump
    assert stream.kinds() == [(0, "response"), (1, "dropped")]
    assert list(stream.started) == [0]


async def test_leaving_client_gives_back_the_room_of_its_waiting_frame():
    stream = HandDriven(StreamPolicy.LATEST)
    stream.send(0, 1)
    await stream.settle()
    assert stream.kept_bytes > 0
    stream.pump.cancel()
    await asyncio.gather(stream.pump, return_exceptions=True)
    assert stream.kept_bytes == 0


async def test_every_reads_past_frames_that_it_leaves_out_though_no_place_is_free():
    stream = HandDriven(StreamPolicy.EVERY, every=3)
    stream.send(0, 1, 2, 3)
    await stream.settle()
    assert list(stream.started) == [0]
    assert stream.unread_count == 1
    stream.started[0].set_result(None)
    await stream.settle()
    assert list(stream.started) == [0, 3]
    assert stream.kinds() == [(0, "response"), (1, "dropped"), (2, "dropped")]
    stream.pump.cancel()
    await asyncio.gather(stream.pump, return_exceptions=True)


async def test_unordered_results_go_out_as_they_come_and_the_last_ends_the_stream():
    stream = HandDriven(StreamPolicy.ALL, in_flight_max=2, ordered=False)
    stream.send(0, 1, 2, 3, None)
    await stream.settle()
    for sequence in (1, 2, 3):
        assert max(stream.started) == sequence  # an answered frame frees its slot at once
        stream.started[sequence].set_result(None)
        await stream.settle()
    assert stream.kinds() == [(1, "response"), (2, "response"), (3, "response")]
    assert not stream.pump.done()
    stream.started[0].set_result(None)
    await stream.pump
    assert stream.kinds()[3:] == [(0, "response")]


async def test_unordered_stream_reports_dropped_frames_before_the_open_one():
    stream = HandDriven(StreamPolicy.LATEST, ordered=False)
    stream.send(0, 1, 2, None)
    await stream.settle()
    assert stream.kinds() == [(1, "dropped")]
    stream.started[0].set_result(None)
    await stream.settle()
    stream.started[2].set_result(None)
    await stream.pump
    assert stream.kinds()[1:] == [(0, "response"), (2, "response")]
