"""The one loop of a gateway that learns of changes: it reads a stream from its place, and sweeps.

The place in the stream is kept here and not in the connection, so a cut connection loses nothing.
What a stream can lose (entries trimmed, a Redis that came back empty, a clock that went backwards)
a sweep finds: every second, and after any fault, it compares the jobs that have waited longer than
a second with what their waiters last read. Both only hint; the waiter itself reads the truth.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from arno.results.keys import KeySpace
from arno.results.redis.cancellation import raise_if_cancelled
from arno.results.redis.faults import REDIS_FAULTS
from arno.results.redis.lua import script_text
from arno.results.redis.waiting_room import WaitingRoom, Wanted

logger = logging.getLogger(__name__)

BLOCK_MS = 1000
READ_COUNT_MAX = 500
SWEEP_INTERVAL_S = 1.0
SWEEP_JOB_COUNT_MAX = 250
FAULT_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class WakeUpStatistics:
    """The wake-ups of one gateway since its start.

    Attributes:
        entry_count: Entries read from the stream.
        sweep_count: Sweeps that were made.
        fault_count: Reads and sweeps that failed.
        waiter_count: Callers that wait now.
    """

    entry_count: int
    sweep_count: int
    fault_count: int
    waiter_count: int


class WakeUpLoop:
    """Reads one gateway's stream on its own connection. Owned by one asyncio loop."""

    def __init__(
        self,
        reader: Redis,
        commands: Redis,
        stream: str,
        room: WaitingRoom,
        keys: KeySpace,
        clock: Callable[[], float],
    ) -> None:
        """Take the connection to block on, the client for sweeps, and those to wake."""
        self._reader = reader
        self._sweep_script = commands.register_script(script_text("sweep"))
        self._stream = stream
        self._room = room
        self._keys = keys
        self._clock = clock
        self._last_seen = b"0-0"
        self._swept_at_s = clock()
        self._entry_count = 0
        self._sweep_count = 0
        self._fault_count = 0

    async def find_start(self) -> None:
        """Take the stream's present end as the place to read on from."""
        newest: Any = await self._reader.xrevrange(self._stream, count=1)
        if newest:
            self._last_seen = newest[0][0]

    async def run(self) -> None:
        """Read and sweep until cancelled; faults of Redis are waited out."""
        faulty = False
        while True:
            raise_if_cancelled()
            try:
                await self._read()
                if self._clock() - self._swept_at_s >= SWEEP_INTERVAL_S or faulty:
                    await self._sweep()
                if faulty:
                    logger.info("wake-ups are read again", extra={"stream": self._stream})
                faulty = False
            except REDIS_FAULTS as error:
                if not faulty:
                    logger.warning(
                        "wake-ups cannot be read: %s", error, extra={"stream": self._stream}
                    )
                faulty = True
                self._fault_count += 1
                await self._sweep_after_fault()

    def statistics(self) -> WakeUpStatistics:
        """Return the numbers of this moment."""
        return WakeUpStatistics(
            self._entry_count, self._sweep_count, self._fault_count, len(self._room)
        )

    async def _read(self) -> None:
        reply: Any = await self._reader.xread(
            {self._stream: self._last_seen}, count=READ_COUNT_MAX, block=BLOCK_MS
        )
        for entry_id, fields in _entries(reply):
            # Whoever else writes here may write what it likes: it wakes nobody.
            job, state = fields.get(b"job", b""), fields.get(b"state", b"")
            self._room.wake(job.decode(errors="replace"), state.decode(errors="replace"))
            self._last_seen = entry_id
            self._entry_count += 1

    async def _sweep_after_fault(self) -> None:
        try:
            await self._sweep()
        except REDIS_FAULTS as error:
            logger.debug("the sweep failed too: %s", error)
            await asyncio.sleep(FAULT_PAUSE_S)

    async def _sweep(self) -> None:
        self._swept_at_s = self._clock()
        longing = list(self._room.longing(self._swept_at_s - SWEEP_INTERVAL_S).items())
        for start in range(0, len(longing), SWEEP_JOB_COUNT_MAX):
            await self._compare(dict(longing[start : start + SWEEP_JOB_COUNT_MAX]))
        self._sweep_count += 1

    async def _compare(self, longing: dict[str, Wanted]) -> None:
        jobs = [self._keys.job(job_id) for job_id in longing]
        watchers = [self._keys.watchers(job_id) for job_id in longing]
        revisions: Any = await self._sweep_script(
            keys=[*jobs, *watchers], args=[self._stream, *longing.values()]
        )
        for job_id, revision in zip(longing, revisions, strict=True):
            self._room.compare(job_id, revision)


def _entries(reply: Any) -> list[Any]:
    # RESP2 answers [[stream, entries]] and RESP3 {stream: [entries]}, depending on the client's
    # release; there is only one stream.
    if not reply:
        return []
    if isinstance(reply, dict):
        (entries,) = reply.values()
    else:
        ((_, entries),) = reply
    nested = (
        entries
        and isinstance(entries[0], list)
        and entries[0]
        and not isinstance(entries[0][0], bytes)
    )
    return list(entries[0] if nested else entries)
