"""Runs the scripts of many callers in few round trips.

Scripts that are asked for while a round trip is under way go with the next one: a lone caller never
waits, and under load one round trip carries dozens of scripts. A command costs the client far more
than the server, so this is most of what a gateway can save on Redis.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from arno.results.connection import REDIS_FAULTS
from arno.results.scripts import ScriptCall, script_is_lost

_BATCH_SIZE_MAX: Final = 64
ROUND_TRIPS_MAX: Final = 2
"""While the answers of one round trip are read, the next one is under way."""


@dataclass(frozen=True, slots=True)
class _Call:
    script: ScriptCall
    answer: asyncio.Future[Any]


class ScriptBatcher:
    """A first-in, first-out queue of script calls, run in batches. Lives in one asyncio loop."""

    def __init__(self, client: Redis, *, round_trips_max: int = ROUND_TRIPS_MAX) -> None:
        """Take the client.

        Args:
            client: Repeats a round trip whose answer was lost.
            round_trips_max: Round trips at once, each on a connection of its own.
        """
        self._client = client
        self._round_trips_max = round_trips_max
        self._queue: deque[_Call] = deque()
        self._senders: set[asyncio.Task[Any]] = set()

    async def run(
        self, script: AsyncScript, *, keys: Sequence[str], args: Sequence[str | bytes | int]
    ) -> Any:
        """Return what the script returns.

        Where the caller is cancelled, its call leaves the queue, or the script runs all the same.

        Raises:
            RedisError: The script failed, which affects no other call, or Redis does not answer.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        call = _Call(ScriptCall(script, keys, args), answer)
        self._queue.append(call)
        if len(self._senders) < self._round_trips_max:
            self._senders.add(asyncio.create_task(self._send_until_empty()))
        return await call.answer

    async def close(self) -> None:
        """Cancel the round trips under way. Idempotent."""
        senders = list(self._senders)
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)

    async def _send_until_empty(self) -> None:
        sender = asyncio.current_task()
        try:
            # Collected only now, so that all calls of one turn of the loop share a round trip.
            while batch := self._next_batch():
                await self._send(batch)
        finally:
            # Here and not in a done callback: a call that is queued before that callback runs would
            # find every sender busy and wait for one that never comes.
            self._senders -= {sender}

    def _next_batch(self) -> list[_Call]:
        batch: list[_Call] = []
        while self._queue and len(batch) < _BATCH_SIZE_MAX:
            call = self._queue.popleft()
            if not call.answer.done():
                batch.append(call)
        return batch

    async def _send(self, batch: Sequence[_Call]) -> None:
        try:
            await self._run(batch)
        except asyncio.CancelledError:
            for call in batch:
                call.answer.cancel()
            raise
        except Exception as fault:  # noqa: BLE001 - each waiting caller gets it
            for call in batch:
                _settle(call.answer, fault)

    async def _run(self, batch: Sequence[_Call]) -> None:
        if len(batch) == 1:
            await _run_alone(batch[0])
            return
        async with self._client.pipeline(transaction=False) as pipeline:
            for call in batch:
                call.script.join(pipeline)
            answers = await pipeline.execute(raise_on_error=False)
        for call, answer in zip(batch, answers, strict=True):
            if script_is_lost(answer):
                await _run_alone(call)
            else:
                _settle(call.answer, answer)


async def _run_alone(call: _Call) -> None:
    try:
        answer = await call.script.alone()
    except REDIS_FAULTS as fault:
        answer = fault
    _settle(call.answer, answer)


def _settle(answer: asyncio.Future[Any], value: Any) -> None:
    if answer.done():
        return
    if isinstance(value, Exception):
        answer.set_exception(value)
    else:
        answer.set_result(value)
