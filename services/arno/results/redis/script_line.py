"""Runs the scripts of many callers in few round trips.

What is asked while a round trip is under way goes with the next one: a lone caller waits for
nobody, and under load one trip carries dozens. A command costs the client far more than the server,
so this is most of what a gateway can save on Redis.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import NoScriptError

from arno.results.redis.faults import REDIS_FAULTS

_TOGETHER_MAX: Final = 64
TRIPS_MAX: Final = 2
"""While one trip's answers are read, the next one is on its way."""


@dataclass(frozen=True, slots=True)
class _Asked:
    script: AsyncScript
    keys: Sequence[str]
    arguments: Sequence[str | bytes | int]
    answer: asyncio.Future[Any]


class ScriptLine:
    """The line of those who want a script run; first come, first served. Lives in one loop."""

    def __init__(self, client: Redis, *, trips_max: int = TRIPS_MAX) -> None:
        """Take the client, and how many connections of it may be used at once.

        The client sends a trip again where its answer was lost.
        """
        self._client = client
        self._trips_max = trips_max
        self._line: deque[_Asked] = deque()
        self._under_way: set[asyncio.Task[Any]] = set()

    async def run(
        self, script: AsyncScript, *, keys: Sequence[str], args: Sequence[str | bytes | int]
    ) -> Any:
        """Return what the script returns.

        A caller that is cancelled leaves the line, or the script runs without it.

        Raises:
            RedisError: It failed, or Redis does not answer; nobody else's script is affected by
                the former.
        """
        asked = _Asked(script, keys, args, asyncio.get_running_loop().create_future())
        self._line.append(asked)
        self._depart()
        return await asked.answer

    async def close(self) -> None:
        """End what is under way. Idempotent."""
        trips = list(self._under_way)
        for trip in trips:
            trip.cancel()
        await asyncio.gather(*trips, return_exceptions=True)

    def _depart(self) -> None:
        if self._line and len(self._under_way) < self._trips_max:
            trip = asyncio.create_task(self._travel())
            self._under_way.add(trip)

    async def _travel(self) -> None:
        trip = asyncio.current_task()
        try:
            # Taken only now, so that all who ask in the same turn of the loop travel together.
            while together := self._board():
                await self._bring(together)
        finally:
            # Here and not in a callback: who asks before that is called would find every trip taken
            # and wait for one that never comes.
            self._under_way -= {trip}

    async def _bring(self, together: Sequence[_Asked]) -> None:
        try:
            await self._run_together(together)
        except asyncio.CancelledError:
            for asked in together:
                asked.answer.cancel()
            raise
        except Exception as fault:  # noqa: BLE001 - whatever it is, those who wait get it
            for asked in together:
                _settle(asked.answer, fault)

    def _board(self) -> list[_Asked]:
        together: list[_Asked] = []
        while self._line and len(together) < _TOGETHER_MAX:
            asked = self._line.popleft()
            if not asked.answer.done():
                together.append(asked)
        return together

    async def _run_together(self, together: Sequence[_Asked]) -> None:
        if len(together) == 1:
            await _run_alone(together[0])
            return
        async with self._client.pipeline(transaction=False) as trip:
            for asked in together:
                trip.evalsha(asked.script.sha, len(asked.keys), *asked.keys, *asked.arguments)
            answers = await trip.execute(raise_on_error=False)
        for asked, answer in zip(together, answers, strict=True):
            if isinstance(answer, NoScriptError):
                # A Redis that was started anew does not know its scripts.
                await _run_alone(asked)
            else:
                _settle(asked.answer, answer)


async def _run_alone(asked: _Asked) -> None:
    try:
        answer = await asked.script(keys=asked.keys, args=asked.arguments)
    except REDIS_FAULTS as fault:
        answer = fault
    _settle(asked.answer, answer)


def _settle(answer: asyncio.Future[Any], value: Any) -> None:
    if answer.done():
        return
    if isinstance(value, Exception):
        answer.set_exception(value)
    else:
        answer.set_result(value)
