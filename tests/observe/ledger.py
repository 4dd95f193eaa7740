"""Calls at a steady rate, and the ledger of how each of them ended."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import grpc
from arno.api.v1 import types_pb2, vision_pb2, vision_pb2_grpc
from support.builders import wire_task
from support.images import png

_LANES = (types_pb2.LANE_INTERACTIVE, types_pb2.LANE_STREAM, types_pb2.LANE_BATCH)
_TASKS = ("CAPTION", "OD", "OCR")
_WRONG_EVERY = 20
# The ledger holds every attempt: nothing is tried again behind its back.
_CHANNEL = (
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 500),
)


@dataclass(slots=True)
class Ledger:
    """What callers have seen.

    Attributes:
        codes: Ended calls by canonical code.
        served: Answered calls by lane.
        tasks: Answered tasks by name.
        image_bytes: Sum of the images of answered calls.
        took_s: Sum of the times of all ended calls.
        began_s: When the first call began, on the monotonic clock.
    """

    codes: Counter[str] = field(default_factory=Counter)
    served: Counter[str] = field(default_factory=Counter)
    tasks: Counter[str] = field(default_factory=Counter)
    image_bytes: int = 0
    took_s: float = 0.0
    began_s: float = 0.0


class Load:
    """Calls gateways in turns, from the beginning of the block to `end`."""

    def __init__(self, addresses: Sequence[str], *, rate_per_s: float, timeout_s: float) -> None:
        """Take where the gateways are."""
        self._addresses = addresses
        self._rate_per_s = rate_per_s
        self._timeout_s = timeout_s
        self._open: set[asyncio.Task[None]] = set()
        self._asking = True
        self.ledger = Ledger()

    async def __aenter__(self) -> Load:
        self._stack = AsyncExitStack()
        self._gateways = [
            vision_pb2_grpc.VisionServiceStub(
                await self._stack.enter_async_context(
                    grpc.aio.insecure_channel(address, options=_CHANNEL)
                )
            )
            for address in self._addresses
        ]
        self.ledger.began_s = time.monotonic()
        self._task = asyncio.create_task(self._ask_all())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()
        await self._stack.aclose()

    async def end(self) -> None:
        """Begin no more calls, and wait for the end of those that are open. Idempotent."""
        self._asking = False
        await self._task
        await asyncio.gather(*self._open)

    async def ask(self, prompt: str) -> str:
        """Ask with a prompt that the ledger does not hold; return the code of the answer."""
        task = wire_task("PROMPT", id="0", text=prompt)
        request = vision_pb2.InferRequest(image=types_pb2.Image(content=png()), tasks=[task])
        try:
            await self._gateways[0].Infer(request, timeout=300)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"

    async def _ask_all(self) -> None:
        for number in itertools.count():
            if not self._asking:
                return
            task = asyncio.create_task(self._ask(number))
            self._open.add(task)
            task.add_done_callback(self._open.discard)
            await asyncio.sleep(1.0 / self._rate_per_s)

    async def _ask(self, number: int) -> None:
        ledger, image = self.ledger, png(16 + number % 64, 16)
        lane, name = _LANES[number % len(_LANES)], _TASKS[number // len(_LANES) % len(_TASKS)]
        wrong = number % _WRONG_EVERY == _WRONG_EVERY - 1
        request = vision_pb2.InferRequest(
            image=types_pb2.Image(content=image),
            tasks=[] if wrong else [wire_task(name, id="0")],
            lane=lane,
        )
        gateway = self._gateways[number % len(self._gateways)]
        started_s, code = time.monotonic(), "OK"
        try:
            response = await gateway.Infer(request, timeout=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            code = error.code().name
        else:
            ledger.served[types_pb2.Lane.Name(lane).removeprefix("LANE_").lower()] += 1
            ledger.tasks[name] += sum(one.HasField("answer") for one in response.results)
            ledger.image_bytes += len(image)
        ledger.codes[code] += 1
        ledger.took_s += time.monotonic() - started_s
