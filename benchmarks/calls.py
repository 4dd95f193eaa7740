"""Put load on a gateway over gRPC, and note when each call ended.

Requests are serialized before the clock runs, and answers are not parsed while it does: on a
machine of two cores the load's own work would be measured otherwise.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

_INFER = "/arno.api.v1.VisionService/Infer"


@dataclass(frozen=True, slots=True)
class Call:
    """One call that ended.

    Attributes:
        due_s: When it was to be sent, from the start of the load.
        latency_s: From then to its answer.
        code: Its canonical code.
    """

    due_s: float
    latency_s: float
    code: str


@dataclass(slots=True)
class Load:
    """Calls of one kind that go to one gateway. Lives in one asyncio loop.

    Attributes:
        channel: To the gateway; bytes in, bytes out.
        requests: Serialized `InferRequest` messages, sent in turns.
        timeout_s: Of each call.
        metadata: Of each call.
        calls: Those that ended.
        answers: Their answers, where they are to be kept; None keeps none.
    """

    channel: grpc.aio.Channel
    requests: Sequence[bytes]
    timeout_s: float = 30.0
    metadata: tuple[tuple[str, str], ...] = ()
    calls: list[Call] = field(default_factory=list)
    answers: list[bytes] | None = None

    async def saturate(self, *, concurrency: int, seconds: float) -> float:
        """Keep so many calls open for so long; return how long it took to answer all of them."""
        began_s = time.monotonic()
        await asyncio.gather(*(self._repeat(n, began_s, seconds) for n in range(concurrency)))
        return time.monotonic() - began_s

    async def burst(self, count: int) -> None:
        """Send so many calls at once, and wait for all of them."""
        began_s = time.monotonic()
        await asyncio.gather(*(self._send(n, began_s, 0.0) for n in range(count)))

    async def follow(self, *, rate: float, seconds: float, seed: int = 0) -> float:
        """Send at random moments, whatever the gateway does; return how long it all took."""
        arrivals, due_s, began_s = random.Random(seed), 0.0, time.monotonic()
        async with asyncio.TaskGroup() as group:
            while (due_s := due_s + arrivals.expovariate(rate)) < seconds:
                await asyncio.sleep(max(0.0, began_s + due_s - time.monotonic()))
                group.create_task(self._send(len(self.calls), began_s, due_s))
        return time.monotonic() - began_s

    async def _repeat(self, number: int, began_s: float, seconds: float) -> None:
        while (due_s := time.monotonic() - began_s) < seconds:
            await self._send(number, began_s, due_s)
            number += 1

    async def _send(self, number: int, began_s: float, due_s: float) -> None:
        ask: Any = self.channel.unary_unary(_INFER)
        code = grpc.StatusCode.OK
        try:
            answer = await ask(
                self.requests[number % len(self.requests)],
                timeout=self.timeout_s,
                metadata=self.metadata,
            )
            if self.answers is not None:
                self.answers.append(answer)
        except grpc.aio.AioRpcError as fault:
            code = fault.code()
        self.calls.append(Call(due_s, time.monotonic() - began_s - due_s, code.name))
