"""How callers of one gateway wait for jobs: a table of waiters, and the loop that wakes them.

The loop reads the gateway's stream of wake-ups, and sweeps. It keeps its position in the stream
itself, not in the connection, so a cut connection loses nothing. What a stream can lose (trimmed
entries, a Redis that came back empty, a clock that went backwards) a sweep finds: every second, and
after any fault, it compares the jobs whose waiters have not read them for a second with what those
waiters last read. Both only hint; the waiter itself reads the truth.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from redis.asyncio import Redis

from arno.ops.cancellation import raise_if_cancelled
from arno.ops.clock import Clock
from arno.results.connection import REDIS_FAULTS
from arno.results.jobs import OVERDUE_MS
from arno.results.keys import KeySpace
from arno.results.scripts import script_text
from arno.vocabulary import JobState

logger = logging.getLogger(__name__)

PREREGISTERED_COUNT_MAX: Final = 16_384
"""Claimed jobs without a waiter yet; the waiter of one that fell out reads its job first."""

_BLOCK_MS: Final = 1000
_READ_COUNT_MAX: Final = 500
_SWEEP_INTERVAL_S: Final = 1.0
_SWEEP_JOB_COUNT_MAX: Final = 250
_FAULT_PAUSE_S: Final = 0.1

_RUNNING_STATES: Final = frozenset(state.value for state in JobState if not state.ended)


class WakeOn(StrEnum):
    """The event that wakes a waiter; also what ``arno:watchers:{job}`` holds for a gateway."""

    END = "end"
    CHANGE = "change"


@dataclass(slots=True, eq=False)
class Waiter:
    """One caller that waits for one job.

    Attributes:
        job_id: The job.
        wake_on: The event that wakes it.
        read_at_s: When it last read the job, in seconds of the store's clock.
        version: The job's revision and incarnation at that time.
        hint: Set when it should read the job again.
    """

    job_id: str
    wake_on: WakeOn
    read_at_s: float
    version: str = ""
    hint: asyncio.Event = field(default_factory=asyncio.Event)


class Waiters:
    """The waiters of one gateway. Owned by one asyncio loop; does not use Redis.

    A waiter costs an event and an entry of a dictionary, never a connection or a timer of its own,
    so thousands of them are cheap.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._waiters: dict[str, set[Waiter]] = {}
        # Whether each preregistered job has ended.
        self._preregistered: OrderedDict[str, bool] = OrderedDict()

    def preregister(self, job_id: str) -> None:
        """Record whether a job that this gateway has just claimed ends before its waiter comes.

        That waiter then need not read the job first: the claim has made the gateway a watcher.
        """
        self._preregistered[job_id] = False
        if len(self._preregistered) > PREREGISTERED_COUNT_MAX:
            self._preregistered.popitem(last=False)

    def forget(self, job_id: str) -> None:
        """Undo ``preregister``: the job will have no waiter."""
        self._preregistered.pop(job_id, None)

    @contextmanager
    def register(self, job_id: str, wake_on: WakeOn, now_s: float) -> Iterator[Waiter]:
        """Add a waiter for as long as the context lasts.

        Its hint is set from the start, so that it reads the job first, unless it waits for the end
        of a preregistered job that has not ended.
        """
        waiter = Waiter(job_id, wake_on, now_s)
        ended = self._preregistered.pop(job_id, True)
        if ended or wake_on is WakeOn.CHANGE:
            waiter.hint.set()
        self._waiters.setdefault(job_id, set()).add(waiter)
        try:
            yield waiter
        finally:
            others = self._waiters[job_id]
            others.discard(waiter)
            if not others:
                del self._waiters[job_id]

    def wake(self, job_id: str, state: str) -> None:
        """Hint to the waiters of a job that its arrival in a state concerns."""
        ended = state not in _RUNNING_STATES
        if ended and job_id in self._preregistered:
            self._preregistered[job_id] = True
        for waiter in self._waiters.get(job_id, ()):
            if ended or waiter.wake_on is WakeOn.CHANGE:
                waiter.hint.set()

    def wake_outdated(self, job_id: str, version: str) -> None:
        """Hint to the waiters of a job that have not read the version that a sweep found.

        Args:
            job_id: The job.
            version: Empty where the job has ended or is gone, which concerns every waiter.
        """
        for waiter in self._waiters.get(job_id, ()):
            changed = waiter.wake_on is WakeOn.CHANGE and version != waiter.version
            if not version or changed:
                waiter.hint.set()

    def wake_all(self) -> None:
        """Hint to every waiter."""
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.hint.set()

    def stale_waiters(self, read_before_s: float) -> dict[str, WakeOn]:
        """Return the jobs that a waiter has not read since a moment.

        Each comes with the broadest event that any of its waiters waits for.
        """
        jobs: dict[str, WakeOn] = {}
        for job_id, waiters in self._waiters.items():
            if any(waiter.read_at_s < read_before_s for waiter in waiters):
                change = any(waiter.wake_on is WakeOn.CHANGE for waiter in waiters)
                jobs[job_id] = WakeOn.CHANGE if change else WakeOn.END
        return jobs


class WakeUpLoop:
    """Reads one gateway's stream on its own connection. Owned by one asyncio loop."""

    def __init__(
        self,
        reader: Redis,
        commands: Redis,
        stream: str,
        waiters: Waiters,
        keys: KeySpace,
        clock: Clock,
    ) -> None:
        """Take the connection to block on, the client for sweeps, and the waiters to wake."""
        self._reader = reader
        self._sweep_script = commands.register_script(script_text("sweep"))
        self._stream = stream
        self._waiters = waiters
        self._keys = keys
        self._clock = clock
        self._last_seen = b"0-0"
        self._swept_at_s = clock.monotonic_s()

    async def find_start(self) -> None:
        """Take the present end of the stream as the position to read on from."""
        newest: Any = await self._reader.xrevrange(self._stream, count=1)
        if newest:
            self._last_seen = newest[0][0]

    async def run(self) -> None:
        """Read and sweep until cancelled; outlive every fault of Redis."""
        faulty = False
        while True:
            raise_if_cancelled()
            try:
                await self._read()
                if self._clock.monotonic_s() - self._swept_at_s >= _SWEEP_INTERVAL_S or faulty:
                    await self._sweep()
                if faulty:
                    logger.info("wake-ups are read again", extra={"stream": self._stream})
                faulty = False
            except REDIS_FAULTS as fault:
                if not faulty:
                    logger.warning(
                        "wake-ups cannot be read: %s", fault, extra={"stream": self._stream}
                    )
                faulty = True
                await self._sweep_after_fault()

    async def _read(self) -> None:
        reply: Any = await self._reader.xread(
            {self._stream: self._last_seen}, count=_READ_COUNT_MAX, block=_BLOCK_MS
        )
        for entry_id, fields in _entries(reply):
            # A foreign writer may add any entry here: it wakes no waiter.
            job, state = fields.get(b"job", b""), fields.get(b"state", b"")
            self._waiters.wake(job.decode(errors="replace"), state.decode(errors="replace"))
            self._last_seen = entry_id

    async def _sweep_after_fault(self) -> None:
        try:
            await self._sweep()
        except REDIS_FAULTS as fault:
            logger.debug("the sweep failed too: %s", fault)
            await asyncio.sleep(_FAULT_PAUSE_S)

    async def _sweep(self) -> None:
        self._swept_at_s = self._clock.monotonic_s()
        stale = list(self._waiters.stale_waiters(self._swept_at_s - _SWEEP_INTERVAL_S).items())
        for start in range(0, len(stale), _SWEEP_JOB_COUNT_MAX):
            await self._compare(dict(stale[start : start + _SWEEP_JOB_COUNT_MAX]))

    async def _compare(self, stale: dict[str, WakeOn]) -> None:
        jobs = [self._keys.job(job_id) for job_id in stale]
        watchers = [self._keys.watchers(job_id) for job_id in stale]
        versions: Any = await self._sweep_script(
            keys=[*jobs, *watchers], args=[self._stream, OVERDUE_MS, *stale.values()]
        )
        for job_id, version in zip(stale, versions, strict=True):
            self._waiters.wake_outdated(job_id, version.decode(errors="replace"))


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
