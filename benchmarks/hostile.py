"""Measure what one hostile tenant does to another: real Kafka, Redis, gateway and worker.

Each attack has an installation of its own, with API keys and otherwise the default limits, and an
engine at a model's pace (`paced_worker`) that decodes every image. The other tenant's calls are
measured alone and under the attack by turns, since the machine may be busier at one time than at
another. The attack comes from a process of its own, of the lowest priority: an attacker brings its
own processors along.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, Final

import grpc
from arno.api.v1 import job_pb2, job_pb2_grpc, types_pb2, vision_pb2, vision_pb2_grpc
from arno.gateway.access.api_key import ApiKey, new_key
from support.images import scan_bomb

from benchmarks.calls import Call, Load
from benchmarks.fairness import key_file
from benchmarks.machine import describe
from benchmarks.overhead import figures, noise_jpeg
from benchmarks.paced_worker import SLOT_COUNT, STEP_COUNT, STEP_S
from benchmarks.stack import Stack, running_stack

BUDGET: Final = {"p95_ratio": 1.5}

_RATE: Final = 0.25 * SLOT_COUNT / (STEP_COUNT * STEP_S)
_WARM_UP_S: Final = 3.0
_LEAD_S: Final = 2.0
"""An attack runs for so long before it is measured."""

_ROUNDS: Final = 3
_DRAIN_S: Final = 60.0
"""How long what an attack has left on the bus may take before the tenant is alone again."""

_CALLERS: Final = 32
_OPEN_COUNT: Final = 2000
_SMALL_BYTES: Final = 20_000
_HUGE_BYTES: Final = 16 * 1024 * 1024
_STORED_BYTES: Final = 1_000_000
_BOMB_SIDE_PX: Final = 7000
_BOMB_SCANS: Final = 20
_LEAVE_AFTER_S: Final = 0.05
_LEAVE_S: Final = 60.0
_PAUSE_S: Final = 0.05
"""After a refusal: a client that repeats at once measures its own event loop."""

_OPEN_PAUSE_S: Final = 2.0
"""The same where two thousand callers of one process are refused: that is no flood of calls."""

_LOWEST_PRIORITY: Final = 19

_TASK: Final = types_pb2.TaskSpec(task=types_pb2.TASK_CAPTION)


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
        image = types_pb2.Image(content=noise_jpeg(_SMALL_BYTES, 0))
        submit = job_pb2.SubmitJobRequest(image=image, tasks=[_TASK])
        infer = vision_pb2.InferRequest(image=image, tasks=[_TASK])
        await self._repeat(
            lambda: self._jobs.SubmitJob(submit, metadata=self._metadata, timeout=30),
            lambda: self._vision.Infer(infer, metadata=self._metadata, timeout=30),
        )

    async def idle_streams(self) -> None:
        """Open streams and watches, and leave them open."""
        image = types_pb2.Image(content=noise_jpeg(_SMALL_BYTES, 0))
        submit = job_pb2.SubmitJobRequest(image=image, tasks=[_TASK])
        job = (await self._jobs.SubmitJob(submit, metadata=self._metadata)).job
        config = vision_pb2.InferStreamRequest(config=vision_pb2.StreamConfig(tasks=[_TASK]))

        async def stream() -> None:
            call = self._vision.InferStream(metadata=self._metadata)
            await call.write(config)
            await call.read()

        async def watch() -> None:
            request = job_pb2.WatchJobRequest(job_id=job.id)
            async for _ in self._jobs.WatchJob(request, metadata=self._metadata):
                pass

        async def keep_open(open_one: Callable[[], Awaitable[None]]) -> None:
            while True:
                await self._try(open_one, pause_s=_OPEN_PAUSE_S)

        await asyncio.gather(*(keep_open(one) for one in (stream, watch) * (_OPEN_COUNT // 2)))

    async def huge_images(self) -> None:
        """Send the largest images that are taken, each another one."""
        noise = noise_jpeg(_SMALL_BYTES, 0)
        await self._ask(lambda: noise + os.urandom(_HUGE_BYTES - len(noise)), callers=8)

    async def scan_bombs(self) -> None:
        """Send JPEGs with as many scans and pixels as are taken: 0.2 MB, seconds to decode."""
        bomb = scan_bomb(_BOMB_SIDE_PX, _BOMB_SCANS)
        await self._ask(lambda: bomb + os.urandom(8))

    async def stored_bytes(self) -> None:
        """Leave images in the store that no call asks for again."""
        noise = noise_jpeg(_SMALL_BYTES, 0)

        def submit() -> Awaitable[Any]:
            content = noise + os.urandom(_STORED_BYTES)
            request = job_pb2.SubmitJobRequest(
                image=types_pb2.Image(content=content), tasks=[_TASK]
            )
            return self._jobs.SubmitJob(request, metadata=self._metadata, timeout=30)

        await self._repeat(submit)

    async def cancelled_work(self) -> None:
        """Ask, and leave before the answer."""
        image = types_pb2.Image(content=noise_jpeg(_SMALL_BYTES, 0))
        request = vision_pb2.InferRequest(image=image, tasks=[_TASK])

        async def leave() -> None:
            call = self._vision.Infer(request, metadata=self._metadata)
            await asyncio.sleep(_LEAVE_AFTER_S)
            call.cancel()
            # A refusal that came before is an answer.
            with suppress(asyncio.CancelledError):
                await call

        await self._repeat(leave)

    async def _ask(self, content: Callable[[], bytes], *, callers: int = _CALLERS) -> None:
        def infer() -> Awaitable[Any]:
            image = types_pb2.Image(content=content())
            request = vision_pb2.InferRequest(image=image, tasks=[_TASK])
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
            self.codes[error.code().name] += 1
            await asyncio.sleep(pause_s)


ATTACKS: Final[Mapping[str, Callable[[Attacker], Awaitable[None]]]] = {
    "floods": Attacker.floods,
    "idle streams and watches": Attacker.idle_streams,
    "huge images": Attacker.huge_images,
    "scan bombs": Attacker.scan_bombs,
    "stored bytes": Attacker.stored_bytes,
    "cancelled work": Attacker.cancelled_work,
}


def measure_hostile(*, seconds: float, only: str = "") -> dict[str, Any]:
    """Return what each attack whose name holds a word does to the other tenant's calls.

    Args:
        seconds: How long the tenant is watched in all, alone and under each attack.
        only: The word; empty for all attacks.
    """
    machine = describe("cpu")
    runs = [_attacked(name, seconds) for name in ATTACKS if only in name]
    return {"name": "hostile", "kind": "hostile", "machine": machine, "budget": BUDGET,
            "runs": runs}  # fmt: skip


def _attacked(name: str, seconds: float) -> dict[str, Any]:
    keys = {tenant: new_key() for tenant in ("people", "hostile")}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        keys_file = folder / "keys.json"
        keys_file.write_text(key_file(keys).model_dump_json(exclude_none=True))
        keys_file.chmod(0o600)
        with running_stack(
            folder, gateway={"keys_file": keys_file}, worker_module="benchmarks.paced_worker"
        ) as stack:
            return asyncio.run(_measured(name, stack, keys, seconds / _ROUNDS))


async def _measured(
    name: str, stack: Stack, keys: Mapping[str, ApiKey], seconds: float
) -> dict[str, Any]:
    request = vision_pb2.InferRequest(
        image=types_pb2.Image(content=noise_jpeg(_SMALL_BYTES, 1)), tasks=[_TASK]
    )
    alone, attacked, codes, loads = list[Call](), list[Call](), Counter[str](), list[float]()
    async with grpc.aio.insecure_channel(stack.target) as channel:

        async def people(during_s: float, seed: int) -> list[Call]:
            load = Load(channel, [request.SerializeToString()], metadata=_shown(keys["people"]))
            await load.follow(rate=_RATE, seconds=during_s, seed=seed)
            return load.calls

        await people(_WARM_UP_S, 0)
        for number in range(_ROUNDS):
            loads.append(round(os.getloadavg()[0], 2))
            alone += await people(seconds, number)
            with _attacking(name, stack.target, keys["hostile"]) as told:
                await asyncio.sleep(_LEAD_S)
                attacked += await people(seconds, number)
            codes.update(told)
            await _drained(stack)
    # By due time both phases have the same length; the rate says nothing here.
    before, after = (figures(calls, _ROUNDS * seconds) for calls in (alone, attacked))
    return {
        "attack": name,
        "alone": before,
        "attacked": after,
        "p95_ratio": after["latency_s"]["p95"] / before["latency_s"]["p95"],
        "attacker_codes": dict(codes),
        "load_averages": loads,
    }


async def _drained(stack: Stack) -> None:
    """Wait until the worker has nothing in hand, or for a minute."""
    until_s = time.monotonic() + _DRAIN_S
    while time.monotonic() < until_s:
        lines = (await asyncio.to_thread(_metrics_of, stack)).splitlines()
        found = [line for line in lines if line.startswith("arno_worker_unfinished_records{")]
        if not sum(float(line.rsplit(" ", 1)[1]) for line in found):
            return
        await asyncio.sleep(0.5)


def _metrics_of(stack: Stack) -> str:
    url = f"{stack.metrics_urls['worker']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own worker
        text: str = answer.read().decode()
        return text


@contextmanager
def _attacking(name: str, target: str, key: ApiKey) -> Iterator[dict[str, int]]:
    """Attack from a process of its own while the block runs.

    Yields:
        What the attacker is told, by code; filled when the block has ended.
    """
    context = multiprocessing.get_context("spawn")
    begun, stop, told = context.Event(), context.Event(), context.Queue()
    arguments = (ATTACKS[name], target, key, (begun, stop), told)
    process = context.Process(target=_attack, args=arguments, daemon=True)
    process.start()
    if not begun.wait(_LEAVE_S):
        raise RuntimeError("the attacker's process does not begin")
    codes: dict[str, int] = {}
    try:
        yield codes
    finally:
        stop.set()
        codes.update(told.get(timeout=_LEAVE_S))
        process.join(_LEAVE_S)
        process.kill()


def _attack(
    kind: Callable[[Attacker], Awaitable[None]],
    target: str,
    key: ApiKey,
    events: tuple[Event, Event],
    told: Queue[dict[str, int]],
) -> None:
    begun, stop = events
    os.nice(_LOWEST_PRIORITY)

    async def attack() -> Counter[str]:
        async with grpc.aio.insecure_channel(target) as channel:
            attacker = Attacker(channel, _shown(key))
            task = asyncio.ensure_future(kind(attacker))
            begun.set()
            await asyncio.to_thread(stop.wait)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            return attacker.codes

    told.put(dict(asyncio.run(attack())))


def _shown(key: ApiKey) -> tuple[tuple[str, str], ...]:
    return (("x-api-key", key.text),)
