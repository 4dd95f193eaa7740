"""A tenant that attacks an installation, in a process of its own of the lowest priority.

Each attack is what a client may send at the default limits, as often as it is answered.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final

import grpc
from arno.api.v1 import job_pb2, job_pb2_grpc, types_pb2, vision_pb2, vision_pb2_grpc
from arno.client.faults import from_rpc
from arno.gateway.access.api_key import ApiKey
from support.images import scan_bomb

from benchmarks.overhead import noise_jpeg

_CALLERS: Final = 32
_OPEN_COUNT: Final = 2000
SMALL_BYTES: Final = 20_000
_HUGE_BYTES: Final = 16 * 1024 * 1024
_STORED_BYTES: Final = 1_000_000
_BOMB_SIDE_PX: Final = 7000
_BOMB_SCANS: Final = 20
_LEAVE_AFTER_S: Final = 0.05
_LEAVE_S: Final = 60.0
_PAUSE_S: Final = 0.05
"""After a refusal: a client that repeats at once measures its own event loop."""

_OPEN_PAUSE_S: Final = 2.0
"""The same where two thousand callers of one process are refused, or what they watch is over: that
is no flood of calls."""

_LOWEST_PRIORITY: Final = 19

ATTACK, PAUSE, _END = "attack", "pause", "end"

TASK: Final = types_pb2.TaskSpec(task=types_pb2.TASK_CAPTION)


class Attacker:
    """The hostile tenant. Lives in one asyncio loop."""

    def __init__(self, channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...]) -> None:
        """Take a channel of its own and its key."""
        self._vision: vision_pb2_grpc.VisionServiceAsyncStub = vision_pb2_grpc.VisionServiceStub(
            channel
        )
        self._jobs: job_pb2_grpc.JobServiceAsyncStub = job_pb2_grpc.JobServiceStub(channel)
        self._metadata = metadata
        self.codes: Counter[str] = Counter()

    async def floods(self) -> None:
        """Submit and ask on every lane, as fast as the gateway answers."""
        image = types_pb2.Image(content=noise_jpeg(SMALL_BYTES, 0))
        submit = job_pb2.SubmitJobRequest(image=image, tasks=[TASK])
        infer = vision_pb2.InferRequest(image=image, tasks=[TASK])
        await self._repeat(
            lambda: self._jobs.SubmitJob(submit, metadata=self._metadata, timeout=30),
            lambda: self._vision.Infer(infer, metadata=self._metadata, timeout=30),
        )

    async def idle_streams(self) -> None:
        """Open streams and watches, and leave them open."""
        image = types_pb2.Image(content=noise_jpeg(SMALL_BYTES, 0))
        submit = job_pb2.SubmitJobRequest(image=image, tasks=[TASK])
        job = (await self._jobs.SubmitJob(submit, metadata=self._metadata)).job
        config = vision_pb2.InferStreamRequest(config=vision_pb2.StreamConfig(tasks=[TASK]))

        async def frames(over: asyncio.Event) -> AsyncIterator[vision_pb2.InferStreamRequest]:
            yield config
            await over.wait()

        async def stream() -> None:
            over = asyncio.Event()
            try:
                async for _ in self._vision.InferStream(frames(over), metadata=self._metadata):
                    pass
            finally:
                over.set()

        async def watch() -> None:
            request = job_pb2.WatchJobRequest(job_id=job.id)
            async for _ in self._jobs.WatchJob(request, metadata=self._metadata):
                pass

        async def keep_open(open_one: Callable[[], Awaitable[None]]) -> None:
            while True:
                await self._try(open_one, pause_s=_OPEN_PAUSE_S)
                # A watch of a job that has ended is over at once.
                await asyncio.sleep(_OPEN_PAUSE_S)

        await asyncio.gather(*(keep_open(one) for one in (stream, watch) * (_OPEN_COUNT // 2)))

    async def huge_images(self) -> None:
        """Send the largest images that are taken, each another one."""
        noise = noise_jpeg(SMALL_BYTES, 0)
        await self._ask(lambda: noise + os.urandom(_HUGE_BYTES - len(noise)), callers=8)

    async def scan_bombs(self) -> None:
        """Send JPEGs with as many scans and pixels as are taken: 0.2 MB, seconds to decode."""
        bomb = scan_bomb(_BOMB_SIDE_PX, _BOMB_SCANS)
        await self._ask(lambda: bomb + os.urandom(8))

    async def stored_bytes(self) -> None:
        """Leave images in the store that no call asks for again."""
        noise = noise_jpeg(SMALL_BYTES, 0)

        def submit() -> Awaitable[Any]:
            content = noise + os.urandom(_STORED_BYTES)
            request = job_pb2.SubmitJobRequest(image=types_pb2.Image(content=content), tasks=[TASK])
            return self._jobs.SubmitJob(request, metadata=self._metadata, timeout=30)

        await self._repeat(submit)

    async def cancelled_work(self) -> None:
        """Ask, and leave before the answer."""
        image = types_pb2.Image(content=noise_jpeg(SMALL_BYTES, 0))
        request = vision_pb2.InferRequest(image=image, tasks=[TASK])

        async def leave() -> None:
            call = self._vision.Infer(request, metadata=self._metadata)
            await asyncio.sleep(_LEAVE_AFTER_S)
            call.cancel()
            try:
                # A refusal that came before is an answer.
                await call
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise

        await self._repeat(leave)

    async def _ask(self, content: Callable[[], bytes], *, callers: int = _CALLERS) -> None:
        def infer() -> Awaitable[Any]:
            image = types_pb2.Image(content=content())
            request = vision_pb2.InferRequest(image=image, tasks=[TASK])
            return self._vision.Infer(request, metadata=self._metadata, timeout=30)

        await self._repeat(infer, callers=callers)

    async def _repeat(self, *calls: Callable[[], Awaitable[Any]], callers: int = _CALLERS) -> None:
        async def one(number: int) -> None:
            for turn in itertools.count(number):
                await self._try(calls[turn % len(calls)])

        await asyncio.gather(*(one(number) for number in range(callers)))

    async def _try(self, call: Callable[[], Awaitable[Any]], *, pause_s: float = _PAUSE_S) -> None:
        try:
            await call()
            self.codes["OK"] += 1
        except grpc.aio.AioRpcError as error:
            code, reason = error.code().name, from_rpc(error, "").reason
            self.codes[code if reason == code else f"{code} ({reason})"] += 1
            await asyncio.sleep(pause_s)


ATTACKS: Final[Mapping[str, Callable[[Attacker], Awaitable[None]]]] = {
    "floods": Attacker.floods,
    "idle streams and watches": Attacker.idle_streams,
    "huge images": Attacker.huge_images,
    "scan bombs": Attacker.scan_bombs,
    "stored bytes": Attacker.stored_bytes,
    "cancelled work": Attacker.cancelled_work,
}


@dataclass(frozen=True, slots=True)
class AttackerProcess:
    """A process that attacks when it is told to.

    Attributes:
        words: Takes `ATTACK` and `PAUSE`.
        pid: Of the process.
    """

    words: Connection
    pid: int

    def told(self, word: str) -> dict[str, int]:
        """Say a word, and return when it is done what callers were told since the last, by code."""
        self.words.send(word)
        if not self.words.poll(_LEAVE_S):
            raise RuntimeError(f"the attacker's process does not answer {word!r}")
        codes: dict[str, int] = self.words.recv()
        return codes


@contextmanager
def attacker_process(name: str, target: str, key: ApiKey) -> Iterator[AttackerProcess]:
    """Start a process that can attack, and end it with the block."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_attack, args=(ATTACKS[name], target, key, theirs))
    process.start()
    assert process.pid is not None
    try:
        yield AttackerProcess(ours, process.pid)
    finally:
        ours.send(_END)
        process.join(_LEAVE_S)
        process.kill()


def _attack(
    kind: Callable[[Attacker], Awaitable[None]], target: str, key: ApiKey, words: Connection
) -> None:
    os.nice(_LOWEST_PRIORITY)

    async def attack() -> None:
        async with grpc.aio.insecure_channel(target) as channel:
            task: asyncio.Future[None] | None = None
            attacker = Attacker(channel, shown(key))
            while (word := await asyncio.to_thread(words.recv)) != _END:
                if word == ATTACK:
                    task = asyncio.ensure_future(kind(attacker))
                elif task is not None:
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task
                words.send(dict(attacker.codes))
                attacker.codes.clear()

    asyncio.run(attack())


def shown(key: ApiKey) -> tuple[tuple[str, str], ...]:
    """Return the header that shows a key."""
    return (("x-api-key", key.text),)
