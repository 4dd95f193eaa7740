"""Who waits for which job inside one gateway: plain objects of one asyncio loop, no Redis.

A waiter costs an event and a place in a dictionary, never a connection or a timer of its own, so
thousands of them are cheap.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from arno.results.ports import JobState

EXPECTED_COUNT_MAX = 16_384
"""Jobs that were claimed and are not waited for yet; of those that fell out, nothing is known."""

GOING_ON = frozenset(state.value for state in JobState if not state.terminal)


class Wanted(StrEnum):
    """What wakes a waiter; also what a gateway's stream is told."""

    END = "end"
    CHANGE = "change"


@dataclass(slots=True, eq=False)
class Waiter:
    """One caller that waits for one job.

    Attributes:
        job_id: The job.
        wanted: What wakes it.
        looked_at_s: When it last read the job, in seconds of the store's clock.
        revision: What it read then.
        hint: Set when it should look again.
    """

    job_id: str
    wanted: Wanted
    looked_at_s: float
    revision: int = 0
    hint: asyncio.Event = field(default_factory=asyncio.Event)


class WaitingRoom:
    """The waiters of one gateway. Owned by one asyncio loop."""

    def __init__(self) -> None:
        """Begin empty."""
        self._waiters: dict[str, set[Waiter]] = {}
        self._expected: OrderedDict[str, bool] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(waiters) for waiters in self._waiters.values())

    def expect(self, job_id: str) -> None:
        """Remember whether a job that this gateway has just claimed ends before it is waited for.

        Its waiter then need not look before it is told to: the claim has made it a watcher already.
        """
        self._expected[job_id] = False
        if len(self._expected) > EXPECTED_COUNT_MAX:
            self._expected.popitem(last=False)

    def forget(self, job_id: str) -> None:
        """Expect nothing any more of a job that nobody will wait for."""
        self._expected.pop(job_id, None)

    @contextmanager
    def seat(self, job_id: str, wanted: Wanted, now_s: float) -> Iterator[Waiter]:
        """Give a waiter its place for the length of a block; it has to look first.

        Unless it waits for the end of an expected job, and nothing was heard of it yet.
        """
        waiter = Waiter(job_id, wanted, now_s)
        ended = self._expected.pop(job_id, True)
        if ended or wanted is Wanted.CHANGE:
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
        """Hint at a job that has come to a state, to those who want that."""
        if job_id in self._expected and state not in GOING_ON:
            self._expected[job_id] = True
        for waiter in self._waiters.get(job_id, ()):
            if waiter.wanted is Wanted.CHANGE or state not in GOING_ON:
                waiter.hint.set()

    def compare(self, job_id: str, revision: int) -> None:
        """Hint at a job whose revision, as a sweep found it, is not what a waiter has read.

        Args:
            job_id: The job.
            revision: -1 where everybody has to look.
        """
        for waiter in self._waiters.get(job_id, ()):
            changed = waiter.wanted is Wanted.CHANGE and revision != waiter.revision
            if revision < 0 or changed:
                waiter.hint.set()

    def wake_all(self) -> None:
        """Hint to everybody."""
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.hint.set()

    def longing(self, looked_before_s: float) -> dict[str, Wanted]:
        """Return the jobs with a waiter that has not looked since, and the most that is wanted."""
        jobs: dict[str, Wanted] = {}
        for job_id, waiters in self._waiters.items():
            if any(waiter.looked_at_s < looked_before_s for waiter in waiters):
                change = any(waiter.wanted is Wanted.CHANGE for waiter in waiters)
                jobs[job_id] = Wanted.CHANGE if change else Wanted.END
        return jobs
